"""The functions and structures of llama.cpp's C interface that Freehold uses, bound with ctypes to a library.

Names and layouts are those of llama.h, ggml.h and ggml-backend.h, the same in both packages that
:mod:`freehold.core.engine_build` names; a test compares them with llama-cpp-python's own bindings. A library
is looked over before it is used: one of another version may lay its structures out differently, and would
read garbage.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Any

from freehold.core.engine_build import EngineBuild, check_processor
from freehold.core.errors import MissingPart, Unsupported

_P, _S, _B, _F = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_bool, ctypes.c_float
_I, _U, _Z, _L = ctypes.c_int32, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_int64
_to = ctypes.POINTER

llama_token = _I
llama_adapter_lora_p_ctypes = _to(_P)
llama_log_callback = ctypes.CFUNCTYPE(None, ctypes.c_int, _S, _P)
llama_progress_callback = ctypes.CFUNCTYPE(_B, _F, _P)
ggml_backend_sched_eval_callback = ctypes.CFUNCTYPE(_B, _P, _B, _P)
ggml_abort_callback = ctypes.CFUNCTYPE(_B, _P)

LLAMA_FLASH_ATTN_TYPE_DISABLED, LLAMA_FLASH_ATTN_TYPE_ENABLED = 0, 1
LLAMA_LOAD_MODE_NONE, LLAMA_LOAD_MODE_MMAP = 0, 1
LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_USER_DEFINED = 1 << 3, 1 << 4


class llama_batch(ctypes.Structure):
    """Tokens of some sequences, to be computed together."""

    _fields_ = (
        ("n_tokens", _I),
        ("token", _to(_I)),
        ("embd", _to(_F)),
        ("pos", _to(_I)),
        ("n_seq_id", _to(_I)),
        ("seq_id", _to(_to(_I))),
        ("logits", _to(ctypes.c_int8)),
    )


class llama_model_params(ctypes.Structure):
    """How a model is loaded."""

    _fields_ = (
        ("devices", _P),
        ("tensor_buft_overrides", _P),
        ("n_gpu_layers", _I),
        ("split_mode", _I),
        ("load_mode", _I),
        ("lazy_mode", _I),
        ("main_gpu", _I),
        ("tensor_split", _to(_F)),
        ("progress_callback", llama_progress_callback),
        ("progress_callback_user_data", _P),
        ("kv_overrides", _P),
        ("vocab_only", _B),
        ("check_tensors", _B),
        ("use_extra_bufts", _B),
        ("no_host", _B),
        ("no_alloc", _B),
        ("load_mtp", _B),
    )


class llama_context_params(ctypes.Structure):
    """How a context is made."""

    _fields_ = (
        ("n_ctx", _U),
        ("n_batch", _U),
        ("n_ubatch", _U),
        ("n_seq_max", _U),
        ("n_rs_seq", _U),
        ("n_outputs_max", _U),
        ("n_outputs_max_per_seq", _U),
        ("n_threads", _I),
        ("n_threads_batch", _I),
        ("ctx_type", _I),
        ("rope_scaling_type", _I),
        ("pooling_type", _I),
        ("attention_type", _I),
        ("flash_attn_type", _I),
        ("rope_freq_base", _F),
        ("rope_freq_scale", _F),
        ("yarn_ext_factor", _F),
        ("yarn_attn_factor", _F),
        ("yarn_beta_fast", _F),
        ("yarn_beta_slow", _F),
        ("yarn_orig_ctx", _U),
        ("defrag_thold", _F),
        ("cb_eval", ggml_backend_sched_eval_callback),
        ("cb_eval_user_data", _P),
        ("type_k", ctypes.c_int),
        ("type_v", ctypes.c_int),
        ("abort_callback", ggml_abort_callback),
        ("abort_callback_data", _P),
        ("embeddings", _B),
        ("offload_kqv", _B),
        ("no_perf", _B),
        ("op_offload", _B),
        ("swa_full", _B),
        ("kv_unified", _B),
        ("samplers", _P),
        ("n_samplers", _Z),
        ("ctx_other", _P),
    )


class llama_model_imatrix_data(ctypes.Structure):
    """What an error costs in each column of a matrix."""

    _fields_ = (("name", _S), ("data", _to(_F)), ("size", _Z))


class llama_model_quantize_params(ctypes.Structure):
    """How a model is quantized."""

    _fields_ = (
        ("nthread", _I),
        ("ftype", ctypes.c_int),
        ("output_tensor_type", ctypes.c_int),
        ("token_embedding_type", ctypes.c_int),
        ("allow_requantize", _B),
        ("quantize_output_tensor", _B),
        ("only_copy", _B),
        ("pure", _B),
        ("keep_split", _B),
        ("dry_run", _B),
        ("imatrix", _to(llama_model_imatrix_data)),
        ("kv_overrides", _P),
        ("tt_overrides", _P),
        ("prune_layers", _to(_I)),
        ("max_buf_size", _Z),
    )


class ggml_type_traits(ctypes.Structure):
    """A type of weights, as ggml knows it: ``block`` weights in ``bytes`` bytes."""

    _fields_ = (
        ("name", _S),
        ("block", _L),
        ("interleave", _L),
        ("bytes", _Z),
        ("quantized", _B),
        ("to_float", _P),
        ("from_float", _P),
    )


#: name -> (result, arguments)
LLAMA_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_adapter_lora_init": (_to(_P), [_P, _S]),
    "llama_backend_init": (None, []),
    "llama_batch_free": (None, [llama_batch]),
    "llama_batch_init": (llama_batch, [_I, _I, _I]),
    "llama_context_default_params": (llama_context_params, []),
    "llama_decode": (_I, [_P, llama_batch]),
    "llama_free": (None, [_P]),
    "llama_get_logits": (_to(_F), [_P]),
    "llama_get_logits_ith": (_to(_F), [_P, _I]),
    "llama_get_memory": (_P, [_P]),
    "llama_init_from_model": (_P, [_P, llama_context_params]),
    "llama_log_set": (None, [llama_log_callback, _P]),
    "llama_memory_clear": (None, [_P, _B]),
    "llama_memory_seq_cp": (None, [_P, _I, _I, _I, _I]),
    "llama_memory_seq_rm": (_B, [_P, _I, _I, _I]),
    "llama_model_default_params": (llama_model_params, []),
    "llama_model_free": (None, [_P]),
    "llama_model_get_vocab": (_P, [_P]),
    "llama_model_is_hybrid": (_B, [_P]),
    "llama_model_is_recurrent": (_B, [_P]),
    "llama_model_load_from_file": (_P, [_S, llama_model_params]),
    "llama_model_quantize": (_U, [_S, _S, _to(llama_model_quantize_params)]),
    "llama_model_quantize_default_params": (llama_model_quantize_params, []),
    "llama_n_ctx": (_U, [_P]),
    "llama_n_ctx_seq": (_U, [_P]),
    "llama_print_system_info": (_S, []),
    "llama_set_adapters_lora": (_I, [_P, _to(_to(_P)), _Z, _to(_F)]),
    "llama_set_n_threads": (None, [_P, _I, _I]),
    "llama_state_seq_load_file": (_Z, [_P, _S, _I, _to(_I), _Z, _to(_Z)]),
    "llama_state_seq_save_file": (_Z, [_P, _S, _I, _to(_I), _Z]),
    "llama_token_to_piece": (_I, [_P, _I, _S, _I, _I, _B]),
    "llama_tokenize": (_I, [_P, _S, _I, _to(_I), _I, _B, _B]),
    "llama_vocab_bos": (_I, [_P]),
    "llama_vocab_eos": (_I, [_P]),
    "llama_vocab_eot": (_I, [_P]),
    "llama_vocab_get_add_bos": (_B, [_P]),
    "llama_vocab_get_attr": (_I, [_P, _I]),
    "llama_vocab_get_text": (_S, [_P, _I]),
    "llama_vocab_is_eog": (_B, [_P, _I]),
    "llama_vocab_n_tokens": (_I, [_P]),
    "llama_vocab_type": (_I, [_P]),
}
#: ggml's registry of devices, in a library that llama.cpp's own is linked to.
REGISTRY_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "ggml_backend_dev_count": (_Z, []),
    "ggml_backend_dev_get": (_P, [_Z]),
}
#: Those of libggml-base; cards are asked for their memory through them.
GGML_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "ggml_get_type_traits": (_to(ggml_type_traits), [ctypes.c_int]),
    "ggml_quantize_chunk": (_Z, [ctypes.c_int, _to(_F), _P, _L, _L, _L, _P]),
    "ggml_backend_dev_name": (_S, [_P]),
    "ggml_backend_dev_description": (_S, [_P]),
    "ggml_backend_dev_memory": (None, [_P, _to(_Z), _to(_Z)]),
    "ggml_backend_dev_type": (ctypes.c_int, [_P]),
}
#: What the structures hold by default; the rest is zero.
MODEL_DEFAULTS = {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "use_extra_bufts": True,
}
CONTEXT_DEFAULTS = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_outputs_max_per_seq": 1,
    "n_threads": 4,
    "n_threads_batch": 4,
    "rope_scaling_type": -1,
    "pooling_type": -1,
    "attention_type": -1,
    "flash_attn_type": -1,
    "yarn_ext_factor": -1.0,
    "yarn_attn_factor": -1.0,
    "yarn_beta_fast": -1.0,
    "yarn_beta_slow": -1.0,
    "defrag_thold": -1.0,
    "type_k": 1,
    "type_v": 1,
    "offload_kqv": True,
    "no_perf": True,
    "op_offload": True,
    "swa_full": True,
}


class LlamaLibrary:
    """A loaded library: its functions by their C names, and this module's structures and constants.

    Raises MissingPart where the system cannot load it, Unsupported if it lays its structures out differently.
    """

    def __init__(self, build: EngineBuild):
        self.build = build
        check_processor(build)
        self._llama = _load(build.llama)
        self._ggml = self._llama if build.ggml == build.llama else _load(build.ggml)
        for library, functions in (
            (self._llama, LLAMA_FUNCTIONS),
            (self._llama, REGISTRY_FUNCTIONS),
            (self._ggml, GGML_FUNCTIONS),
        ):
            for name, (result, arguments) in functions.items():
                function = getattr(library, name, None)
                if function is None:  # a library may lack what its own package does not use: see __getattr__
                    continue
                function.restype, function.argtypes = result, arguments
                setattr(self, name, function)
        if fault := self._fault():
            raise _other_version(build, fault)

    def __getattr__(self, name: str) -> Any:
        if name in LLAMA_FUNCTIONS or name in REGISTRY_FUNCTIONS or name in GGML_FUNCTIONS:
            raise Unsupported(
                f"the text engine in use ({self.build.name}) cannot do this: it holds no {name}",
                "build one that can: freehold engine build",
            )
        try:
            return globals()[name]
        except KeyError:
            raise AttributeError(f"{name} is not bound; add it to llama_api") from None

    def holds(self, name: str) -> bool:
        """Whether a function is there."""
        return name in self.__dict__

    @property
    def instructions(self) -> str:
        """The instruction sets that its kernels were compiled for, such as ``AVX AVX2 FMA``."""
        parts = (part.strip() for part in self.llama_print_system_info().decode().split("|"))
        names = (part.rpartition(":")[2].partition("=") for part in parts if part.endswith("= 1"))
        return " ".join(name.strip() for name, _, _ in names)

    def _fault(self) -> str:
        """What is laid out differently; empty if nothing is."""
        if lacking := [name for name in _NEEDED if not self.holds(name)]:
            return f"it has no {lacking[0]}"
        for function, structure, defaults in (
            ("llama_model_default_params", llama_model_params, MODEL_DEFAULTS),
            ("llama_context_default_params", llama_context_params, CONTEXT_DEFAULTS),
        ):
            if fault := _layout_fault(self._llama, function, structure, defaults):
                return fault
        batch = self.llama_batch_init(4, 0, 1)
        try:
            if batch.embd or not (
                batch.token and batch.pos and batch.n_seq_id and batch.seq_id and batch.logits
            ):
                return "llama_batch is laid out differently"
        finally:
            self.llama_batch_free(batch)
        traits = self.ggml_get_type_traits(8).contents
        if (traits.name, traits.block, traits.bytes) != (b"q8_0", 32, 34):
            return "ggml_type_traits is laid out differently"
        return ""


def _load(path: Path) -> ctypes.CDLL:
    if sys.platform == "win32":
        os.add_dll_directory(str(path.parent))
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingPart(
            f"the system cannot load the text engine's {path.name} ({error})",
            "on Debian and Ubuntu: apt install libgomp1 libstdc++6; else build it: freehold engine build",
        ) from None


#: Functions that the check itself calls.
_NEEDED = (
    "llama_model_default_params",
    "llama_context_default_params",
    "llama_batch_init",
    "llama_batch_free",
    "ggml_get_type_traits",
)
_MARK = 0xA5
_BEYOND = 256


def _layout_fault(library: ctypes.CDLL, function: str, structure: type[Any], defaults: dict[str, Any]) -> str:
    """How a function's structure differs from ours in its size or its default values; empty if it does
    not."""
    size = ctypes.sizeof(structure)

    class Roomy(ctypes.Structure):
        _fields_ = (("known", structure), ("beyond", ctypes.c_uint8 * _BEYOND))

    if platform.machine().lower() in ("x86_64", "amd64"):  # there the result's address is the first argument
        buffer = (ctypes.c_uint8 * (size + _BEYOND))(*[_MARK] * (size + _BEYOND))
        ctypes.CFUNCTYPE(None, _P)((function, library))(ctypes.addressof(buffer))
        value, untouched = Roomy.from_buffer(buffer), _MARK
    else:
        value, untouched = ctypes.CFUNCTYPE(Roomy)((function, library))(), 0
    if any(byte != untouched for byte in value.beyond):
        return f"{function} has more than the {size} bytes that are known"
    for name, _ in structure._fields_:
        read = getattr(value.known, name)
        plain = read if isinstance(read, int | float) else bool(read)
        if plain != defaults.get(name, 0):
            return f"{function} has {name} = {plain}, where {defaults.get(name, 0)} was to be expected"
    return ""


def _other_version(build: EngineBuild, fault: str) -> Unsupported:
    return Unsupported(
        f"{build.llama} is another version of llama.cpp than Freehold is made for: {fault}",
        "install the versions that Freehold asks for: pip install --upgrade --force-reinstall freehold",
    )
