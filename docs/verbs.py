"""Write one page per verb from its own help. Run: python docs/verbs.py"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VERBS = ("pull", "fit", "trial", "tune", "shrink", "run", "chat", "serve", "export", "archive", "restore", "models", "show", "verify", "certify", "reproduce", "licence", "scan", "mask", "push", "signer", "policy", "rm", "gc", "trials", "report", "hub",
         "hub serve", "hub check", "hub gc", "hub token create", "hub token list", "hub token revoke")

if __name__ == "__main__":
    folder = Path(__file__).parent / "verbs"
    folder.mkdir(exist_ok=True)
    for verb in VERBS:
        done = subprocess.run([sys.executable, "-m", "freehold.cli.main", *verb.split(), "--help"], capture_output=True, text=True, check=True)
        (folder / f"{verb.replace(' ', '-')}.md").write_text(f"# freehold {verb}\n\n```\n{done.stdout.strip()}\n```\n")
        print(f"wrote docs/verbs/{verb.replace(' ', '-')}.md")
