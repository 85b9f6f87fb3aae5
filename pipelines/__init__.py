"""The data layer: media files to batches. Never imports `dfd_tf`."""
