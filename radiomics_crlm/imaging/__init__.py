"""Volumes and their geometry, DICOM series, regions and measurements: the only place that opens image files."""
