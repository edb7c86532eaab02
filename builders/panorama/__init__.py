"""One panorama: photos opened, labels lifted, poses solved for, pixels composed, rows written."""
