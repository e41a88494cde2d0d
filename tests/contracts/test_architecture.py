"""docs/architecture.md says what is on disk and what the import contracts hold."""

import ast
import re
import tomllib
from pathlib import Path

import bytecap
from bytecap.auditing.probes import PROBES
from bytecap.convert.kinds import KINDS
from bytecap.convert.layouts import LAYOUTS
from bytecap.export.targets import TARGETS
from bytecap.model.techniques import TECHNIQUES
from bytecap.scoring.adaptations import ADAPTATIONS
from bytecap.train.hooks import HOOKS
from tests.contracts.test_schemes import FILES as SCHEME_FILES

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "bytecap"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FILES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "__init__.py")


def test_architecture_draws_every_file() -> None:
    """Each package and file in docs/architecture.md exists, and each that exists is drawn."""
    tree = re.search(r"## Packages\n+```\n(.*?)```", PAGE, re.DOTALL)
    assert tree is not None
    drawn: set[str] = set()
    folder = ""
    for line in tree[1].splitlines():
        head, _, rest = line.strip().partition(" ")
        if line.startswith("src/bytecap/"):
            continue
        if line.startswith("  "):
            names = rest.split("   ")[0] if head.endswith("/") else head
            if head.endswith("/"):
                folders = {
                    "techniques/": "model/",
                    "schemes/": "published/",
                    "hooks/": "train/",
                    "probes/": "auditing/",
                    "adaptations/": "scoring/",
                    "kinds/": "convert/",
                    "layouts/": "convert/",
                    "targets/": "export/",
                    "remote/": "export/",
                }
                folder = folders.get(head, "") + head
                drawn |= {folder + n.strip() + ".py" for n in rest.split("(")[0].strip().split(",") if n.strip()}
            elif names.endswith(".py"):
                drawn.add(names)
    found = {str(p.relative_to(SOURCE)) for p in FILES}
    found -= {f"model/techniques/{name}.py" for name in TECHNIQUES.names()}  # what is added is listed nowhere
    found -= {f"published/schemes/{name}.py" for name in SCHEME_FILES}
    found -= {f"train/hooks/{name}.py" for name in HOOKS.names()}
    found -= {f"auditing/probes/{name}.py" for name in PROBES.names()}
    found -= {f"scoring/adaptations/{name}.py" for name in ADAPTATIONS.names()}
    found -= {f"convert/kinds/{name}.py" for name in KINDS.names()}
    found -= {f"convert/layouts/{name}.py" for name in LAYOUTS.names()}
    found -= {f"export/targets/{name}.py" for name in TARGETS.names()}
    assert drawn == found


def test_every_package_has_its_sentence() -> None:
    """One row each in the table of packages, and none of a package that is not there."""
    table = PAGE.partition("| package | its one sentence |")[2].partition("\n\n")[0]
    packages = {p.parent.name for p in SOURCE.glob("*/__init__.py")} | {p.stem for p in SOURCE.glob("[a-z]*.py")}
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(packages)


def test_layers_of_the_page_are_those_of_the_contract() -> None:
    """Who may import what is written in pyproject.toml; the page repeats it for readers."""
    drawn = re.search(r"## Who may import what.*?```\n(.*?)```", PAGE, re.DOTALL)
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert drawn is not None and drawn[1].splitlines() == [layer.replace("bytecap.", "") for layer in layers]


def test_files_that_the_page_names_exist() -> None:
    """`folder/name.py` in running text is a file; so are the documents it points to."""
    for name in re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE):
        assert (SOURCE / name).exists() or (ROOT / name).exists(), name
    for name in re.findall(r"docs/\w+\.md", PAGE):
        assert (ROOT / name).exists(), name


def test_size_limits() -> None:
    """No file of more than 300 lines, no function of 60: of the package, its tests, benchmarks and examples."""
    others = [path for folder in ("tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")]
    for path in FILES + others:
        source = path.read_text("utf-8")
        assert len(source.splitlines()) <= 300, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None and node.end_lineno - node.lineno < 60, (path, node.name)


def test_every_module_and_public_function_is_documented() -> None:
    """A docstring each."""
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), (path, node.name)


def test_every_setting_is_documented() -> None:
    """Each field of each config either says what it is or is named by its neighbours."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.ClassDef) and node.name.endswith("Config")) or node.name == "RunConfig":
                continue
            fields = [i for i, item in enumerate(node.body) if isinstance(item, ast.AnnAssign)]
            for i in fields:
                after = node.body[i + 1] if i + 1 < len(node.body) else None
                assert isinstance(after, ast.Expr), (path, node.name, ast.unparse(node.body[i]))


def test_forbidden_words() -> None:
    """No unpickling, no environment, nats become bits in one place."""
    for path in FILES:
        text = path.read_text("utf-8")
        # convert/kinds alone reads what torch.save wrote, in a process of its own.
        found = len(re.findall("torch[.]load|(?i:(?<!no )pickle)", text)) if "convert" not in path.parts else 0
        assert found == 0 and text.count("torch.load(") == text.count("weights_only=True"), path
        # core/distributed.py alone reads what torchrun sets.
        assert path.name == "distributed.py" or ("os.environ" not in text and "getenv" not in text), path
        assert "math.log(2" not in text or path.name == "units.py", path


def test_tests_mirror_the_source() -> None:
    """Every source file has its test file, the listed ones apart."""
    by_forward_pass = "attention block layers rotary spec techniques/residual_mix techniques/unet_skips"
    elsewhere = {f"model/{name}.py" for name in by_forward_pass.split()} | {"model/techniques/base.py"}
    elsewhere |= {f"auditing/probes/{name}.py" for name in ("base", *PROBES.names())}  # test_job, test_planted_cheats
    elsewhere |= {
        f"auditing/{name}.py" for name in ("excerpts", "drive", "findings", "run_subject", "subject", "texts")
    }
    elsewhere |= {"auditing/table.py"}  # test_audit
    elsewhere |= {"scoring/adaptations/base.py"}  # contracts/test_adaptations
    by_mixture = ("candidates", "prior", "states")
    elsewhere |= {f"scoring/memory_{name}.py" for name in by_mixture}  # test_memory_mixing, test_document_memory
    elsewhere |= {
        "__main__.py", "run/record.py", "run/scoring.py", "run/job.py", "core/device.py", "report/fit_table.py",
    }  # fmt: skip  # tests/end_to_end
    elsewhere |= {
        "core/progress.py", "core/allocator.py", "core/version.py", "quant/statistics.py", "formats/plan.py",
    }  # fmt: skip  # no behaviour of their own
    of_formats = ["base", "by_role", "floats", "per_channel", "per_group", "per_tensor", "row_column", "table"]
    elsewhere |= {f"formats/{name}.py" for name in of_formats}  # contracts/test_formats
    elsewhere |= {"artifact/header.py"}  # test_load
    elsewhere |= {"huggingface/scored.py"}  # test_fitting
    elsewhere |= {"convert/kinds/base.py", "export/targets/base.py"}  # contracts/test_kinds, contracts/test_targets
    elsewhere |= {"export/our_folder.py"}  # export/targets/test_hf
    of_folders = ("configuration_bytecap", "modeling_bytecap", "open_folder", "tokenization_bytecap")
    elsewhere |= {f"export/remote/{name}.py" for name in of_folders}  # export/test_remote_code
    elsewhere |= {"fitting/refine.py", "fitting/sequential.py", "fitting/result.py"}  # test_size_search
    elsewhere |= {"text/survey.py", "text/tokens.py", "text/external.py"}  # test_prepare, test_contest_data
    elsewhere |= {str(path.relative_to(SOURCE)) for path in FILES if path.parent.name == "commands"}  # tests/end_to_end
    elsewhere |= {f"published/schemes/{name}.py" for name in SCHEME_FILES}  # test_scheme_plan, contracts/test_schemes
    for path in FILES:
        relative = path.relative_to(SOURCE)
        test = ROOT / "tests" / relative.parent / f"test_{relative.name}"
        assert test.exists() or str(relative) in elsewhere, relative


def test_version_is_written_once_more_only_in_pyproject() -> None:
    """The package says the version that its metadata says."""
    assert PROJECT["project"]["version"] == bytecap.__version__
