"""SRGaze360: gaze following in 360-degree images. The ground floor: sphere, cameras, records, metrics, and the front door."""

__version__ = "0.1.0"
