"""The PyTorch backend."""

import os

# Threads of a parallel region spin while they wait for each other, GNU's OpenMP for about 20 ms. On
# processors shared with anything else they keep the very thread that they wait for from running: a
# training step of 65 ms took 1 to 5 s on 2 loaded cores, and takes 0.2 s with a short spin, for 5 %
# more time on idle ones. OpenMP reads this variable when torch is loaded, hence here.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")

# devices.py loads an extension such as torch_npu when it opens its device. Loaded by torch itself,
# one that cannot start would make every command fail.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
