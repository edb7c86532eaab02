"""Sources of photos with gaze labels and of background panoramas: one file each."""
