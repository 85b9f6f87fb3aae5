"""Starts TensorFlow without its dozen lines of start-up messages.

TensorFlow 2.21 writes them before it reads `TF_CPP_MIN_LOG_LEVEL`, straight to the file descriptor.
"""

import os
import sys
import tempfile


def start_tensorflow() -> None:
    """Imports TensorFlow and initialises its devices; `dfd-tf -v` shows what it says meanwhile."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        _start()
        return
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            _start()
        except BaseException:
            # What it said may be the reason.
            messages.seek(0)
            os.write(shown, messages.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)


def _start() -> None:
    import tensorflow as tf

    tf.config.list_physical_devices()
