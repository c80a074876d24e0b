"""The MindSpore backend; it mirrors the folder of PyTorch file by file."""

import os
import tempfile
from pathlib import Path

# All are read when MindSpore is loaded, hence here.
#
# Its C++ core logs dozens of lines about its own settings at the level WARNING; 3 is ERROR.
os.environ.setdefault("GLOG_v", "3")
# On processors with AVX-512, oneDNN 3.10 takes a wrapper around its reference convolution for the
# plain layout that MindSpore passes: a 3x3 convolution takes 150 ms instead of 10. With AVX2 it
# takes the matrix multiplication.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
# A graph that does not compile is written to rank_0/om of this folder, or else of the current one.
os.environ.setdefault("MS_OM_PATH", str(Path(tempfile.gettempdir()) / f"mindspore-{os.getuid()}"))
