"""What networks on the sphere are made of: geometry in torch, padding, blocks, tangent patches, backbones, decoding."""
