"""Arrays that say they are on a GPU: as CuPy's, torch's, Numba's and a stranger's look to us.

Each wraps a NumPy array and offers what the package asks such an array for, under the names that
the real libraries have (module and class included), and nothing else. The memory is the host's, so
that in Numba's simulator kernels can run on it: `install` puts in place what is missing there.
"""

import math
import sys
import types

import numpy as np


class _Standin:
    """A NumPy array in disguise."""

    def __init__(self, host, number=0):
        self.host, self.number = host, number

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit copy to the host")

    def __getattr__(self, name):
        raise AttributeError(f"the stand-in has no {name}")

    def __len__(self):
        return len(self.host)

    def _like(self, host):
        return type(self)(host, self.number)

    def __getitem__(self, index):
        return self._like(self.host[index])

    def reshape(self, *shape):
        assert self.host.flags.c_contiguous
        return self._like(self.host.reshape(*shape))

    @property
    def shape(self):
        return self.host.shape

    @property
    def ndim(self):
        return self.host.ndim

    @property
    def __cuda_array_interface__(self):
        return dict(self.host.__array_interface__)


class CupyLike(_Standin):
    """cupy.ndarray."""

    dtype = property(lambda self: self.host.dtype)
    size = property(lambda self: self.host.size)
    flags = property(lambda self: self.host.flags)
    device = property(lambda self: types.SimpleNamespace(id=self.number))

    def copy(self, order="C"):
        return self._like(self.host.copy(order=order))

    def get(self, order="C"):
        return self.host.copy(order=order)


class TorchDtype:
    """torch.float32 and its like: no dtype of NumPy's."""

    def __init__(self, name):
        self.name_of = name

    def __repr__(self):
        return f"torch.{self.name_of}"


DTYPES = {
    name: TorchDtype(name)
    for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "bool")
}


class TorchLike(_Standin):
    """torch.Tensor, on a GPU or not."""

    def __init__(self, host, number=0, where="cuda", requires_grad=False):
        super().__init__(host, number)
        self.where, self.requires_grad = where, requires_grad

    def _like(self, host):
        return TorchLike(host, self.number, self.where, self.requires_grad)

    dtype = property(lambda self: DTYPES[self.host.dtype.name])
    is_cuda = property(lambda self: self.where == "cuda")
    device = property(lambda self: types.SimpleNamespace(type=self.where, index=self.number))

    @property
    def __cuda_array_interface__(self):
        if self.requires_grad:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad")
        if not self.is_cuda:
            raise AttributeError("Can't get __cuda_array_interface__ on non-CUDA tensor")
        return dict(self.host.__array_interface__)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def size(self):
        return self.host.shape

    def detach(self):
        return TorchLike(self.host, self.number, self.where)

    def clone(self, memory_format=None):
        assert memory_format == "contiguous"
        return self._like(self.host.copy())

    def contiguous(self):
        return self if self.is_contiguous() else self._like(self.host.copy())

    def is_contiguous(self):
        return self.host.flags.c_contiguous

    def storage_offset(self):
        return 0  # memory starts with the first element here

    def as_strided(self, shape, strides, offset):
        return self._like(strided(self.host.reshape(-1)[offset:], shape, strides))

    def cpu(self):
        assert not self.requires_grad
        return TorchLike(self.host.copy(), where="cpu")

    def numpy(self):
        assert self.where == "cpu" and not self.requires_grad
        return self.host


class NumbaLike(_Standin):
    """numba.cuda's DeviceNDArray."""

    __cuda_ndarray__ = True

    dtype = property(lambda self: self.host.dtype)
    size = property(lambda self: self.host.size)

    @property
    def gpu_data(self):
        device = types.SimpleNamespace(id=self.number)
        return types.SimpleNamespace(context=types.SimpleNamespace(device=device))

    def is_c_contiguous(self):
        return self.host.flags.c_contiguous

    def copy_to_host(self):
        return self.host.copy()


class Stranger:
    """Somebody else's: an interface, and not even a shape."""

    def __init__(self, host):
        self.host = host

    @property
    def __cuda_array_interface__(self):
        return dict(self.host.__array_interface__)


CupyLike.__module__, CupyLike.__name__ = "cupy", "ndarray"
TorchLike.__module__, TorchLike.__name__ = "torch", "Tensor"
NumbaLike.__module__, NumbaLike.__name__ = "numba.cuda.cudadrv.devicearray", "DeviceNDArray"


class _Interface:
    def __init__(self, interface):
        self.__array_interface__ = interface


def host_view(array):
    """The memory that a __cuda_array_interface__ describes, as a NumPy array."""
    interface = array.__cuda_array_interface__
    if math.prod(interface["shape"]) == 0:
        return np.empty(interface["shape"], interface["typestr"])
    view = np.asarray(_Interface(interface))
    return view


KEPT = []  # the owners of memory that stand-ins look at


def _as(kind):
    def convert(array, device=None):
        if isinstance(array, kind):
            return array
        KEPT.append(array)
        return kind(host_view(array))

    return convert


def strided(host, shape, strides):
    in_bytes = [stride * host.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(host, shape, in_bytes)


def _as_strided(array, shape, strides):
    return CupyLike(np.lib.stride_tricks.as_strided(array.host, shape, strides))


def _matmul(a, b, out):
    np.matmul(a.host, b.host, out=out.host)


def cupy_like():
    """A module cupy."""
    module = types.ModuleType("cupy")
    module.ndarray, module.asarray, module.matmul = CupyLike, _as(CupyLike), _matmul
    module.empty = lambda shape, dtype: CupyLike(np.full(shape, 77, dtype))
    module.zeros = lambda shape, dtype: CupyLike(np.zeros(shape, dtype))
    module.ascontiguousarray = lambda a: a if a.flags.c_contiguous else a.copy()
    tricks = types.SimpleNamespace(as_strided=_as_strided)
    module.lib = types.SimpleNamespace(stride_tricks=tricks)
    stream = types.SimpleNamespace(ptr=0)
    module.cuda = types.SimpleNamespace(get_current_stream=lambda: stream)
    return module


def torch_like():
    """A module torch."""
    module = types.ModuleType("torch")
    module.Tensor, module.as_tensor, module.matmul = TorchLike, _as(TorchLike), _matmul
    vars(module).update(DTYPES)

    def filled(value):
        def make(shape, dtype, device):
            assert isinstance(dtype, TorchDtype)
            assert device == "cuda" or device.type == "cuda"
            return TorchLike(np.full(shape, value, dtype.name_of))

        return make

    module.empty, module.zeros = filled(77), filled(0)
    module.contiguous_format = "contiguous"
    stream = types.SimpleNamespace(cuda_stream=0)
    module.cuda = types.SimpleNamespace(current_stream=lambda: stream)
    return module


def install():
    """Make Numba's simulator understand the stand-ins; in a process of its own."""
    from numba import cuda
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    FakeCUDAArray.__cuda_array_interface__ = property(lambda a: dict(a._ary.__array_interface__))

    def as_cuda_array(array, sync=True):
        KEPT.append(array)
        return FakeCUDAArray(host_view(array))

    cuda.as_cuda_array = as_cuda_array
    sys.modules["cupy"], sys.modules["torch"] = cupy_like(), torch_like()
