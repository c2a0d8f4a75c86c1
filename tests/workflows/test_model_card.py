"""What a pushed model says of itself: facts of the store and of trials, and never a row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from freehold.core.errors import AccessDenied, BadModel, NotFound, UsageError
from freehold.hub import client
from freehold.hub.users import Users
from freehold.models.answer_form import AnswerForm, of_model
from freehold.models.info import read_info
from freehold.models.intake import made_here
from freehold.models.lineage import Lineage, TunedStep
from freehold.models.store import Model, Store
from freehold.quantization.conversion import to_gguf
from freehold.trial.keeping import keep_as_is
from freehold.trust import certificate, obligations, provenance, signature
from freehold.trust.keys import Keyring
from freehold.workflows.certify import CertifyOptions, certify
from freehold.workflows.model_card import measured, model_card
from freehold.workflows.push import PushOptions, TokenUser, files_to_share, hand_over, push
from tests import tiny
from tests.entry import pull
from tests.hub.serving import hub_at
from tests.runtime.test_gguf_form import files_in
from tests.workflows.test_export_paths import rows, tuned

pytestmark = pytest.mark.slow

SECRET = "The lamp of order 1 has not come"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A base, what was tuned from it, and a trial that measured that."""
    folder = tmp_path_factory.mktemp("cards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FREEHOLD_HOME", str(folder / "home"))
        patch.setenv("HF_HUB_OFFLINE", "0")
        store = Store(folder / "home")
        base = store.add(
            "org/tiny",
            made_here(files_in(tiny.model("llama", folder / "folder"))),
            {"source": "hf:org/tiny", "repository": "org/tiny"},
            licence="apache-2.0",
            licence_from="license in README.md",
        )
        first = tuned(store, base, "plain")
        step = first.info.lineage.last(TunedStep)
        assert step is not None
        task = folder / "task.json"
        task.write_text(json.dumps({"train": [{"messages": [["user", SECRET], ["assistant", "lamp"]]}]}))
        files = {name: store.file(first, name) for name in first.manifest}
        store.add(
            "orders/tiny",
            made_here(files | {"task.json": task}),
            {"source": "trial:abc"},
            licence="apache-2.0",
            licence_from="inherited from org/tiny",
            lineage=Lineage((*first.info.lineage.steps[:-1], replace(step, trial="abc"))),
        )
        trial(store.folder, "abc", first.digest)
        bare = tiny.model("qwen2", folder / "bare")
        to_gguf(bare, folder / "x.gguf", read_info(files_in(bare)))
        store.add(
            "unstated", made_here({"x.gguf": folder / "x.gguf"}), {"source": "file:/home/ada/private/x.gguf"}
        )
        yield store


def trial(home: Path, name: str, digest: str) -> None:
    """A finished trial's report, as far as a card reads it."""
    figure = {"value": 0.875, "low": 0.71, "high": 0.95, "n": 40, "method": "Wilson interval"}
    report = {
        "report_version": 1,
        "id": name,
        "task": {
            "name": "orders",
            "kind": "label",
            "metric": "accuracy",
            "files": {"train": "ab" * 32, "test": "cd" * 32},
            "rows": {"train": 8, "valid": 4, "test": 40},
        },
        "variants": [
            {"digest": digest, "shots": [], "figures": {"accuracy": figure}},
            {"digest": digest, "shots": ["row1"], "figures": {"accuracy": {**figure, "value": 0.99}}},
        ],
    }
    folder = home / "trials" / name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report))


def card(store: Store, model: Model, address: str = "http://hub:8600") -> str:
    owed = obligations.compute(provenance.components(store, model, ""), model.name)
    return model_card(store, model, owed, "clinic/orders", address)


def test_our_hub_shows_licence_base_and_figures(store: Store, tmp_path: Path) -> None:
    model = store.find("orders/tiny")
    with hub_at(tmp_path / "hub") as address:
        push(store, model, PushOptions("clinic/orders", address, ""))
        info = HfApi(endpoint=address, token=False).model_info("clinic/orders")
        data = info.card_data
        assert data is not None
        assert (data.license, data.base_model, data.get("base_model_relation")) == (
            "apache-2.0",
            "org/tiny",
            "finetune",
        )
        assert (data.library_name, data.pipeline_tag) == ("gguf", "text-generation")
        assert {"freehold", "gguf", "lora"} <= set(data.tags or [])
        assert data.eval_results is not None
        (result,) = data.eval_results
        assert (result.dataset_name, result.metric_type, result.metric_value) == ("orders", "accuracy", 0.875)
        assert result.metric_args is not None
        assert (result.metric_args["interval_95"], result.metric_args["n"]) == ([0.71, 0.95], 40)
        assert result.dataset_args == {"sha256": {"train": "ab" * 32, "test": "cd" * 32}}
        assert result.metric_args["measured_by"] == "Freehold trial abc"
        import httpx

        page = httpx.get(f"{address}/clinic/orders", headers={"accept": "text/html"}).text
        assert "There is no card" not in page
        assert "none stated" not in page
        assert "0.710 to 0.950" in page
        names = {sibling.rfilename for sibling in info.siblings or []}
        assert {"README.md", "NOTICE.txt", "plain.gguf", "adapter_model.safetensors"} <= names
        assert "task.json" not in names


def test_nothing_that_is_handed_on_holds_a_row(store: Store, tmp_path: Path) -> None:
    model = store.find("orders/tiny")
    assert SECRET.encode() in store.file(model, "task.json").read_bytes()
    assert "task.json" not in files_to_share(store, model)
    hand_over(store, model, tmp_path / "out")
    with hub_at(tmp_path / "hub") as address:
        push(store, model, PushOptions("clinic/orders", address, ""))
        HfApi(endpoint=address, token=False).snapshot_download("clinic/orders", local_dir=tmp_path / "back")
    texts = [SECRET, *(row.messages[0][1] for row in rows())]
    for folder in (tmp_path / "out", tmp_path / "back"):
        handed = [path for path in folder.rglob("*") if path.is_file()]
        assert len(handed) >= 4
        for path in handed:
            assert not [text for text in texts if text.encode() in path.read_bytes()], path


def test_the_text_says_what_a_reader_needs(store: Store) -> None:
    text = card(store, store.find("orders/tiny"))
    assert "- Tuned from: org/tiny" in text
    assert f"`{store.find('orders/tiny').digest}`" in text
    assert "| orders | accuracy | 0.875 | 0.710 to 0.950 | 40 |" in text
    assert "- Rows: 8 for training, 4 for validation. They are not part of this repository." in text
    assert f"- File of the train rows (sha256): `{'ab' * 32}`" in text
    assert "LoRA, rank 4, alpha 8.0, learning rate 0.01" in text
    assert "HF_ENDPOINT=http://hub:8600 freehold pull hf:clinic/orders --as orders" in text
    assert "llama-server -m plain.gguf" in text
    assert "ollama create orders -f Modelfile" in text
    assert "Licence: apache-2.0 (general.license in plain.gguf)." in text
    assert "rows like the 40 test rows" in text
    assert "HF_ENDPOINT" not in card(store, store.find("orders/tiny"), "https://huggingface.co")


def test_a_figure_of_another_prompt_is_not_one_of_the_weights(store: Store) -> None:
    (figure,) = measured(store.find("orders/tiny").digest)
    assert (figure.value, figure.rows, figure.trial) == (0.875, 40, "abc")
    assert measured("") == []


def test_what_is_not_known_is_said_and_not_invented(store: Store) -> None:
    text = card(store, store.find("unstated"))
    head = text.split("---")[1]
    assert "license" not in head
    assert "base_model" not in head
    assert "language" not in head
    assert "Licence: not stated by its source." in text
    assert "Whether commercial use is allowed is not known." in text
    assert "/home/ada" not in text


def test_a_licence_of_its_own_keeps_its_name(store: Store) -> None:
    model = store.add(
        "own",
        made_here({"own.gguf": store.weights(store.find("unstated"))}),
        {"source": "x"},
        licence="Clinic Licence 3",
        licence_from="x",
    )
    head = card(store, model).split("---")[1]
    assert "license: other" in head
    assert "license_name: Clinic Licence 3" in head


def test_a_readme_of_its_own_keeps_its_head_and_its_text(store: Store, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "---\nlicense: mit\nlanguage:\n- de\ntags:\n- tickets\npipeline_tag: text-classification\n---\n"
        "# Ours\n\nWritten by hand.\n"
    )
    weights = store.weights(store.find("plain"))
    model = store.add(
        "written",
        made_here({"w.gguf": weights, "README.md": readme}),
        {"source": "hf:a/b"},
        licence="mit",
        licence_from="license in README.md",
    )
    text = card(store, model)
    head = text.split("---")[1]
    for kept in ("license: mit", "- de", "- tickets", "pipeline_tag: text-classification"):
        assert kept in head
    assert "freehold\n" not in head.split("tags:")[1].split("pipeline_tag")[0]
    assert "library_name: gguf" in head
    assert "# Ours\n\nWritten by hand.\n\n## Added by Freehold when this model was pushed" in text


def test_a_certified_model_is_still_what_was_certified_after_it_was_pushed(
    store: Store, tmp_path: Path
) -> None:
    keyring = Keyring()
    keyring.create("clinic")
    model = store.find("plain")
    certify(store, model, keyring, CertifyOptions(key="clinic"))
    with hub_at(tmp_path / "hub") as address:
        push(store, model, PushOptions("clinic/plain", address, ""))
        HfApi(endpoint=address, token=False).snapshot_download("clinic/plain", local_dir=tmp_path / "back")
    assert (tmp_path / "back" / ".gitattributes").exists()
    with pytest.raises(BadModel, match=r"\.cache/huggingface/.* is extra"):
        certificate.check_folder(tmp_path / "back", keyring)
    shutil.rmtree(tmp_path / "back" / ".cache")
    assert "README.md" in certificate.check_folder(tmp_path / "back", keyring).files
    signature.verify(tmp_path / "back", tmp_path / "back" / signature.SIGNATURE, keyring)


def test_a_readme_that_was_signed_is_pushed_as_it_is(store: Store, tmp_path: Path) -> None:
    keyring = Keyring()
    keyring.create("office")
    (tmp_path / "README.md").write_text("# Signed\n")
    model = store.add(
        "signed",
        made_here({"s.gguf": store.weights(store.find("plain")), "README.md": tmp_path / "README.md"}),
        {"source": "x"},
    )
    certify(store, model, keyring, CertifyOptions(key="office"))
    with hub_at(tmp_path / "hub") as address:
        push(store, model, PushOptions("clinic/signed", address, ""))
        path = HfApi(endpoint=address, token=False).hf_hub_download(
            "clinic/signed", "README.md", local_dir=tmp_path / "back"
        )
    assert Path(path).read_text() == "# Signed\n"


# -- what a hub refuses ---------------------------------------------------------------------------


def test_the_hubs_own_sentence_reaches_the_user(store: Store, tmp_path: Path) -> None:
    home = tmp_path / "hub"
    accounts = Users(Store(home))
    accounts.add("bob")
    for organisation, role in (("clinic", "write"), ("archive", "read")):
        accounts.add(organisation, organisation=True)
        accounts.join(organisation, "bob", role)
    token = accounts.create_token("bob")
    with hub_at(home) as address:
        with pytest.raises(
            AccessDenied,
            match=r"ada/orders at .* could not be pushed to: .+ \".+ namespace 'ada'\" \(status 403",
        ) as refused:
            push(store, store.find("plain"), PushOptions("ada/orders", address, token))
        assert "Request ID" not in refused.value.message
        assert "this token belongs to the user bob, who is not a member of ada" in refused.value.remedy
        assert "may write to bob, clinic: push to clinic/orders" in refused.value.remedy
        assert "freehold hub token create bob --role write --organisation ada" in refused.value.remedy
        with pytest.raises(AccessDenied, match="status 401") as unknown:
            push(store, store.find("plain"), PushOptions("bob/orders", address, "hf_wrong"))
        assert "HF_TOKEN" in unknown.value.remedy
        with pytest.raises(NotFound, match="status 404"), client.explained("bob/none"):
            client.client(address, token).model_info("bob/none")


def test_a_token_for_reading_is_told_apart_from_a_member_who_may_not_write() -> None:
    reader = TokenUser.read({"name": "bob", "auth": {"accessToken": {"role": "read"}}})
    assert "may only read" in reader.way_out("bob", "orders", "http://hub")
    member = TokenUser.read({"name": "bob", "orgs": [{"name": "ada", "roleInOrg": "read"}]})
    text = member.way_out("ada", "orders", "http://hub")
    assert "who is a member of ada and may write to bob: push to bob/orders" in text
    assert "http://hub/ada" in text


def test_a_model_asked_with_worked_examples_hands_on_rows_only_where_that_is_said(
    store: Store, tmp_path: Path
) -> None:
    base = store.find("plain")
    form = AnswerForm(labels=("lamp", "coat"), shots=((("user", SECRET), ("assistant", "lamp")),))
    trial(store.folder, "few", base.digest)
    model = keep_as_is(store, base, form, task="orders", how="few-shot", trial="few", data={})
    with pytest.raises(UsageError, match="1 of your rows as a worked example") as refused:
        hand_over(store, model, tmp_path / "out")
    assert "--with-examples" in refused.value.remedy
    assert not (tmp_path / "out").exists()
    with hub_at(tmp_path / "hub") as address:
        with pytest.raises(UsageError, match="they would be shared"):
            push(store, model, PushOptions("clinic/few", address, ""))
        push(store, model, PushOptions("clinic/few", address, "", with_examples=True))
        HfApi(endpoint=address, token=False).snapshot_download("clinic/few", local_dir=tmp_path / "back")
    text = (tmp_path / "back" / "README.md").read_text()
    assert "Measured with: 2 labels, 1 worked example, greedy" in text
    assert "0.990" in text
    assert of_model(store, pull(store, f"file:{tmp_path / 'back'}", "back")) == form
