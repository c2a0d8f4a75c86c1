"""What is dangerous in a model's files. Nothing is loaded, unpacked to disk or run; files are read as bytes.

A model consists of GGUF or safetensors weights and of texts. Whatever can run code when it is loaded is
refused whatever is in it: pickles (also inside archives and under other names), programs, scripts, archives,
Keras and TensorFlow graphs, arrays of objects. Of texts, chat templates, configurations and YAML heads are
looked into. What a pickle would call is told by picklescan's reading of its opcodes.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from freehold.core.errors import BadModel, Unsupported
from freehold.hub.scans import Danger
from freehold.models.formats import architectures, gguf, safetensors
from freehold.trust import scanners
from freehold.trust.finding import Finding
from freehold.trust.template_check import try_out

#: Texts beyond this size are no configuration; vocabularies are.
_MOST_TEXT = 64 << 20
#: Bytes of a pickle whose operations are looked at: it is refused whatever they are, and each takes time and
#: memory.
_MOST_PICKLE = 1 << 20
_MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"\x7fELF", 0, "a program (ELF)"),
    (b"MZ", 0, "a program (Windows)"),
    (b"\xcf\xfa\xed\xfe", 0, "a program (macOS)"),
    (b"\xca\xfe\xba\xbe", 0, "a program (macOS or Java)"),
    (b"#!", 0, "a script"),
    (b"PK\x03\x04", 0, "a zip archive"),
    (b"PK\x05\x06", 0, "a zip archive"),
    (b"\x1f\x8b", 0, "a gzip archive"),
    (b"BZh", 0, "a bzip2 archive"),
    (b"\xfd7zXZ", 0, "an xz archive"),
    (b"7z\xbc\xaf", 0, "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd archive"),
    (b"Rar!", 0, "a rar archive"),
    (b"ustar", 257, "a tar archive"),
    (b"\x89HDF\r\n", 0, "an HDF5 file (Keras), whose layers can hold code"),
    (b"\x93NUMPY", 0, "a numpy array, which can hold pickled objects"),
    (b"\x0a", 0, ""),
)
_PICKLE = re.compile(rb"\x80[\x00-\x05]")
_OLD_PICKLE = re.compile(rb"^\(?[cl(]?[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n")
_PROGRAMS = (
    ".py",
    ".pyc",
    ".so",
    ".dll",
    ".dylib",
    ".exe",
    ".sh",
    ".bat",
    ".ps1",
    ".js",
    ".jar",
    ".whl",
    ".ipynb",
    ".lua",
    ".cmd",
    ".vbs",
)
_LOADED_AS_CODE = (
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".joblib",
    ".dill",
    ".mar",
    ".npy",
    ".npz",
    ".h5",
    ".hdf5",
    ".keras",
    ".pb",
    ".onnx",
    ".t7",
    ".dat",
    ".model.pkl",
    ".msgpack",
    ".ot",
    ".zip",
    ".tar",
    ".gz",
    ".bz2",
    ".xz",
    ".7z",
    ".rar",
    ".zst",
    ".tgz",
    ".engine",
    ".plan",
    ".mlmodel",
    ".pmml",
    ".skops",
    ".cbm",
    ".tflite",
)
#: Names by which a template leaves its sandbox, and what no template of a chat needs.
_ESCAPES = re.compile(
    r"__\w+__|\|\s*attr\b|\bcycler\b|\blipsum\b|\bjoiner\b|\bself\s*\.\s*_|\{%-?\s*(?:include|impor"
    r"t|from|extends)\b"
    r"|\bmro\s*\(|\bpopen\b|\bsubclasses\b|\bglobals\b\s*[\[(]|\\x5f"
)
_ADDRESS = re.compile(r"(?:https?|ftp)://[^\s'\"<>)}]+|data:text/html|<\s*script|javascript:", re.IGNORECASE)
_HUGE_LOOP = re.compile(r"range\s*\(\s*(?:\d[\d_]{6,}|\d+\s*\*\*)")
_REMOTE = ("auto_map", "custom_pipelines", "trust_remote_code", "_custom_code", "custom_code")
_REMOTE_WHY = "it asks to run code that comes with the model ({})"
_YAML_TAG = re.compile(r"!!python/|!<tag:yaml\.org,2002:python/")


#: Chat templates in one file; models with several have three or four.
_MOST_TEMPLATES = 16
#: Changes whenever Freehold's own scanner may tell of the same file otherwise than before.
RULES = "3"


def scan(files: Mapping[str, Path]) -> list[Finding]:
    """All findings of all scanners in files by name; none for a clean model. Raises FreeholdError where a
    scanner fails.
    """
    return scanners.scan(files)


def rules() -> str:
    """Changes whenever the same file may be told of otherwise than before, by any scanner."""
    return "; ".join([RULES, *(f"{plugin.name}, {plugin.origin}" for plugin in scanners.others())])


def scan_files(files: Mapping[str, Path]) -> list[Finding]:
    """What Freehold's own scanner finds in files by name."""
    findings: list[Finding] = []
    for name, path in sorted(files.items()):
        findings += _scan_one(name, path)
    return findings


def dangers(files: Mapping[str, Path]) -> dict[str, list[Danger]]:
    """The same by file, as a hub keeps it."""
    by_file: dict[str, list[Danger]] = {}
    for finding in scan(files):
        by_file.setdefault(finding.file, []).append(
            Danger("unsafe" if finding.unsafe else "caution", finding.kind, finding.reason)
        )
    return by_file


def refuse(files: Mapping[str, Path]) -> list[Finding]:
    """Raises BadModel with the first dangerous findings, where there are any; else returns what cannot be
    vouched for but does no harm.

    Code that a configuration names (``auto_map``) beside an architecture that is built in is never run and no
    reason to refuse.
    """
    findings = [finding for finding in scan(files) if not _is_idle(finding, files)]
    dangerous = [finding for finding in findings if finding.dangerous]
    if dangerous:
        more = f" (and {len(dangerous) - 3} more)" if len(dangerous) > 3 else ""
        raise BadModel(
            "refused as dangerous: " + "; ".join(map(str, dangerous[:3])) + more,
            "ask the publisher for safetensors or GGUF with plain texts beside it",
        )
    return findings


def _is_idle(finding: Finding, files: Mapping[str, Path]) -> bool:
    """Whether a finding is code that stays idle because what it stands for is built in."""
    if finding.scanner or finding.why != _REMOTE_WHY.format("auto_map") or "config.json" not in files:
        return False
    try:
        config = json.loads(files["config.json"].read_text())
    except (ValueError, RecursionError):
        return False
    return isinstance(config, dict) and architectures.is_built_in(str(config.get("model_type", "")))


def _scan_one(name: str, path: Path) -> list[Finding]:
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name:
        return [Finding(name, "path", "its name points outside the model's folder")]
    if path.is_symlink() and not path.exists():
        return [Finding(name, "link", "it is a broken link")]
    if not path.is_file():
        return [Finding(name, "link", "it is not a plain file")]
    low = name.lower()
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if low.endswith(".gguf") or head.startswith(b"GGUF"):  # adapters are GGUF under a name of their own
        return _weights(name, path, head) or _templates(name, _in_gguf(path))
    if low.endswith(".safetensors"):
        return _weights(name, path, head)
    if low.endswith(_PROGRAMS):
        return [Finding(name, "program", "it is a program or script, and a model needs none")]
    if (finding := _told_by_content(name, path, head)) is not None:
        return [finding]
    if low.endswith(_LOADED_AS_CODE):
        return [
            Finding(
                name,
                "format",
                f"files of the kind {Path(low).suffix} can run code when they are loaded, or hide what they "
                "hold",
            )
        ]
    return _text(name, path)


def _weights(name: str, path: Path, head: bytes) -> list[Finding]:
    """Weights are what their name says, whole, and nothing besides."""
    try:
        if not name.lower().endswith(".safetensors"):
            gguf.read_header(path)
        else:
            safetensors.read_header(path)
    except (BadModel, Unsupported) as error:
        hidden = _told_by_content(name, path, head)
        return [hidden or Finding(name, "header", error.message)]
    return []


def _told_by_content(name: str, path: Path, head: bytes) -> Finding | None:
    """What a file is by its first bytes, whatever it is called."""
    for magic, at, what in _MAGIC:
        if what and head[at : at + len(magic)] == magic:
            if what == "a zip archive":
                return _zip(name, path)
            kind = (
                "program"
                if "program" in what or "script" in what
                else "packed"
                if "archive" in what
                else "format"
            )
            return Finding(name, kind, f"it is {what}")
    if _PICKLE.match(head) or _OLD_PICKLE.match(head):
        return _pickle(name, path.open("rb"))
    if zipfile.is_zipfile(path):  # an archive behind something else
        return _zip(name, path)
    return None


def _zip(name: str, path: Path) -> Finding:
    """What a zip holds, entry by entry, none of them unpacked whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            for entry in entries:
                if (
                    entry.filename.startswith(("/", "\\"))
                    or ".." in Path(entry.filename.replace("\\", "/")).parts
                ):
                    return Finding(
                        name,
                        "archive",
                        f"it is a zip archive whose entry {entry.filename[:80]!r} points outside its folder",
                    )
                if entry.file_size > 1000 * max(entry.compress_size, 1) and entry.file_size > 1 << 24:
                    return Finding(
                        name,
                        "archive",
                        "it is a zip archive that grows a thousandfold when it is unpacked "
                        f"({entry.filename[:80]!r}, "
                        f"{entry.file_size:,} bytes)",
                    )
            for entry in entries:
                with archive.open(entry) as file:
                    start = file.read(2)
                if _PICKLE.match(start) or entry.filename.endswith((".pkl", ".pickle")):
                    with archive.open(entry) as file:
                        finding = _pickle(name, io.BytesIO(file.read(_MOST_PICKLE)))
                    return Finding(
                        name,
                        "pickle",
                        f"it is a zip archive with a pickle in it ({entry.filename[:80]!r}): {finding.why}",
                    )
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError) as error:
        return Finding(name, "archive", f"it is a damaged zip archive ({str(error)[:80]})")
    return Finding(name, "packed", "it is a zip archive, and a model needs none")


def _pickle(name: str, file: Any) -> Finding:
    """What a pickle would call, by its opcodes; nothing of it is run."""
    from picklescan import scanner

    with file:
        data = file.read(_MOST_PICKLE)
    try:
        result = scanner.scan_pickle_bytes(io.BytesIO(data), name)
        called = [
            f"{each.module}.{each.name}"
            for each in result.globals
            if each.safety != scanner.SafetyLevel.Innocuous
        ]
    except Exception:  # a pickle made to break its reader stays a pickle, and is refused as one
        called = []
    calls = f", and loading it would call {', '.join(called[:4])}" if called else ""
    return Finding(name, "pickle", f"it is a pickle, which can run code when it is loaded{calls}")


def _text(name: str, path: Path) -> list[Finding]:
    """Templates, configurations, and the YAML head of a card."""
    low = name.lower()
    if path.stat().st_size > _MOST_TEXT:
        return [Finding(name, "size", f"a text of {path.stat().st_size:,} bytes is not a configuration")]
    data = path.read_bytes()
    if low.endswith(".model"):  # SentencePiece: a protocol buffer of pieces, no code
        return []
    if b"\0" in data[: 1 << 16]:
        return [Finding(name, "content", "it is neither text nor weights of a kind that is known")]
    text = data.decode("utf-8", "replace")
    if low.endswith(".json"):
        return _configuration(name, text)
    if low.endswith(".jinja"):
        return _template(name, text)
    if low.endswith((".yaml", ".yml", ".md")) and _YAML_TAG.search(text):
        return [Finding(name, "yaml", "its YAML asks to build Python objects, which runs code")]
    return []


def _configuration(name: str, text: str) -> list[Finding]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [Finding(name, "json", f"it is not valid JSON ({str(error)[:80]})")]
    findings: list[Finding] = []
    waiting: list[Any] = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            for key, inner in part.items():
                if key in _REMOTE and inner:
                    findings.append(Finding(name, "remote code", _REMOTE_WHY.format(key)))
                if key == "chat_template":
                    findings += _templates(name, _in_config(inner))
                if key == "_target_" or (key == "class_name" and inner == "Lambda"):
                    findings.append(
                        Finding(
                            name,
                            "remote code",
                            f"it names code to be called when it is loaded ({key}: {str(inner)[:60]})",
                        )
                    )
                waiting.append(inner)
        elif isinstance(part, list):
            waiting.extend(inner for inner in part if isinstance(inner, dict | list))
    return list(dict.fromkeys(findings))


def _in_config(value: Any) -> list[str]:
    """The chat templates under the key ``chat_template``: one, or a list of named ones."""
    templates = value if isinstance(value, list) else [value]
    return _texts(each.get("template") if isinstance(each, dict) else each for each in templates)


def _in_gguf(path: Path) -> list[str]:
    fields = gguf.read_header(path).fields
    return _texts(value for key, value in fields.items() if key.startswith("tokenizer.chat_template"))


def _texts(values: Iterable[Any]) -> list[str]:
    """Those that are texts, each once."""
    return list(dict.fromkeys(value for value in values if isinstance(value, str)))


def _templates(name: str, texts: Sequence[str]) -> list[Finding]:
    """The first finding in a file's chat templates: each is tried, which takes time."""
    if len(texts) > _MOST_TEMPLATES:
        return [Finding(name, "template", f"it has {len(texts):,} chat templates")]
    for source in texts:
        if finding := _template(name, source):
            return finding
    return []


def _template(name: str, source: str) -> list[Finding]:
    """A chat template that reaches for its sandbox's walls, does not end, or brings instructions and
    addresses of its own.
    """
    if (escape := _ESCAPES.search(source)) is not None:
        return [
            Finding(name, "template", f"its chat template reaches out of its sandbox ({escape[0][:60]!r})")
        ]
    if _HUGE_LOOP.search(source):
        return [
            Finding(name, "template", "its chat template has a loop that would not end in reasonable time")
        ]
    if (address := _ADDRESS.search(source)) is not None:
        return [
            Finding(
                name,
                "template",
                f"its chat template puts an address or markup into every chat ({address[0][:60]!r})",
            )
        ]
    if len(source) > 1 << 20:
        return [Finding(name, "template", f"its chat template has {len(source):,} characters")]
    if exceeded := try_out(source).exceeded:
        return [Finding(name, "template", f"its chat template {exceeded} on an ordinary conversation")]
    return []


def notes(files: Mapping[str, Path]) -> list[str]:
    """What is no danger and should be known: a sentence for each chat template that takes no plain
    question.
    """
    sentences: list[str] = []
    for name, path in sorted(files.items()):
        for source in _templates_of(name, path):
            if refused := try_out(source).refused:
                sentences.append(f"{name}: {refused}; chats need --template plain, or another template")
    return sentences


def _templates_of(name: str, path: Path) -> list[str]:
    """The chat templates in a file that has been scanned. Raises BadModel, Unsupported."""
    low = name.lower()
    if low.endswith(".gguf"):
        return _in_gguf(path)
    if low.endswith(".jinja"):
        return [path.read_text("utf-8", "replace")]
    if low.endswith("tokenizer_config.json"):
        config = json.loads(path.read_text("utf-8", "replace"))
        return _in_config(config.get("chat_template")) if isinstance(config, dict) else []
    return []
