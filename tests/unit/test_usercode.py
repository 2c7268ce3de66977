"""Finding the user's callables, and how each way of not finding one reads."""

import importlib
import importlib.machinery
import importlib.util
import os
import py_compile
import sys
from pathlib import Path

import pytest

from model_eval.errors import Interrupted, UserCodeError
from model_eval.spec.eval_spec import CodeRef, PathRef
from model_eval.types import Location
from model_eval.usercode import blame, call, compile_anew, describe, resolve
from model_eval.wording import kind_of

HERE = Location(file="a.yaml", line=5, column=12)


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("model_eval_user_") or name.partition(".")[0] in {
            "helper",
            "package_of_user",
        }:
            del sys.modules[name]
    importlib.invalidate_caches()


def ref(text, folder=None, source=None):
    place, _, attribute = text.partition(":")
    file = folder / place if folder else None
    return CodeRef(
        text=text,
        file=file,
        module=None if file else place,
        attribute=attribute,
        kwargs={},
        location=HERE,
        source=source and PathRef(path=source, display=source.name, location=HERE),
    )


def refusal(reference, base=Path("/nowhere")):
    with pytest.raises(UserCodeError) as caught:
        resolve(reference, base=base)
    assert caught.value.location == HERE
    return caught.value.message


def test_a_callable_in_a_file_and_what_it_imports_beside_it(tmp_path):
    (tmp_path / "helper.py").write_text("VALUE = 3")
    (tmp_path / "net.py").write_text(
        "from dataclasses import dataclass\nfrom helper import VALUE\n"
        "@dataclass\nclass Net:\n    width: int = VALUE\n    @staticmethod\n"
        "    def make():\n        return Net()\n"
    )
    assert resolve(ref("net.py:Net", tmp_path), base=tmp_path)().width == 3
    assert resolve(ref("net.py:Net.make", tmp_path), base=tmp_path)().width == 3


def test_bytecode_of_another_source_is_not_run(tmp_path):
    """A copy that keeps times (rsync, tar) may have another source of the same size and time."""

    def write(source):
        for name in ("net.py", "helper.py"):
            (tmp_path / name).write_text(source)
            os.utime(tmp_path / name, (1e9, 1e9))

    write("VALUE = 1\ndef make(): import helper; return VALUE, helper.VALUE\n")
    for name in ("net.py", "helper.py"):
        py_compile.compile(str(tmp_path / name), doraise=True)
    kept = sorted((tmp_path / "__pycache__").iterdir())
    write("VALUE = 2\ndef make(): import helper; return VALUE, helper.VALUE\n")
    compile_anew()
    assert resolve(ref("net.py:make", tmp_path), base=tmp_path)() == (2, 2)
    assert sorted((tmp_path / "__pycache__").iterdir()) == kept


def test_nor_where_another_finder_has_found_it(tmp_path):
    """As an editable install has one."""
    source = tmp_path / "net.py"

    def write(text):
        source.write_text(text)
        os.utime(source, (1e9, 1e9))

    write("VALUE = 1\n")
    py_compile.compile(str(source), doraise=True)
    write("VALUE = 2\n")
    compile_anew()
    spec = importlib.util.spec_from_file_location("net_of_another_finder", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.VALUE == 2


def test_what_is_installed_keeps_its_bytecode():
    compile_anew()
    origin = importlib.util.find_spec("yaml").origin
    assert importlib.machinery.SourceFileLoader("yaml", origin).path_stats(origin)["size"] > 0


def test_a_file_is_imported_once(tmp_path):
    (tmp_path / "net.py").write_text("class Net: pass")
    first = resolve(ref("net.py:Net", tmp_path), base=tmp_path)
    assert resolve(ref("net.py:Net", tmp_path), base=tmp_path) is first


def test_a_package_of_the_specs_folder(tmp_path):
    (tmp_path / "package_of_user").mkdir()
    (tmp_path / "package_of_user/__init__.py").write_text("def make(): return 7")
    assert resolve(ref("package_of_user:make"), base=tmp_path)() == 7


def test_the_users_folders_come_last_on_the_path(tmp_path):
    (tmp_path / "net.py").write_text("def make(): pass")
    before = list(sys.path)
    resolve(ref("net.py:make", tmp_path), base=tmp_path)
    assert sys.path == [*before, str(tmp_path)]


def test_an_installed_module_in_place_of_the_repositorys(tmp_path, monkeypatch):
    installed, repository = tmp_path / "installed", tmp_path / "repository"
    for folder in (installed, repository):
        (folder / "package_of_user").mkdir(parents=True)
        (folder / "package_of_user/__init__.py").write_text("def make(): return __file__")
    (installed / "package_of_user/net.py").write_text("raise SystemExit('was run')")
    for name in ("net.py", "other.py"):
        (repository / "package_of_user" / name).write_text("def make(): return __file__")
    monkeypatch.syspath_prepend(installed)
    for name, found in (("net", "net.py"), ("other", "__init__.py")):
        theirs = ref(
            f"package_of_user.{name}:make", source=repository / f"package_of_user/{name}.py"
        )
        assert refusal(theirs, repository) == (
            f"`package_of_user.{name}:make` is not `{name}.py`: Python finds "
            f"`{installed}/package_of_user/{found}` by that name"
        )
    with pytest.raises(UserCodeError) as caught:
        resolve(theirs, base=repository)
    assert caught.value.remedy == (
        "rename `package_of_user` in the repository, or write `package_of_user/other.py:make`"
    )


def test_the_repositorys_own_module(tmp_path):
    (tmp_path / "package_of_user").mkdir()
    source = tmp_path / "package_of_user/net.py"
    source.write_text("def make(): return 7")
    found = ref("package_of_user.net:make", source=source)
    assert resolve(found, base=tmp_path)() == 7


def test_a_package_that_lacks_something_says_what(tmp_path):
    (tmp_path / "package_of_user").mkdir()
    (tmp_path / "package_of_user/__init__.py").write_text("import nothing_like_this")
    source = tmp_path / "package_of_user/net.py"
    source.write_text("")
    assert refusal(ref("package_of_user.net:make", source=source), tmp_path) == (
        "`package_of_user.net:make` cannot be imported: ModuleNotFoundError: "
        "No module named 'nothing_like_this' (__init__.py:1)"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "`net.py:Net` names nothing that can be called"),
        ("Net = 1", "`net.py:Net` names nothing that can be called"),
        ("raise RuntimeError('no\\nway')", "`net.py:Net` cannot be imported: RuntimeError: no way (net.py:1)"),
        ("import nothing_like_this", "`net.py:Net` cannot be imported: ModuleNotFoundError: No module named 'nothing_like_this' (net.py:1)"),
        ("raise SystemExit(0)", "`net.py:Net` cannot be imported: SystemExit: 0 (net.py:1)"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(tmp_path, source, message):
    (tmp_path / "net.py").write_text(source)
    assert refusal(ref("net.py:Net", tmp_path)) == message


def test_a_syntax_error_names_its_line(tmp_path):
    (tmp_path / "net.py").write_text("def x(:\n")
    assert "SyntaxError" in refusal(ref("net.py:Net", tmp_path))
    assert "net.py, line 1" in refusal(ref("net.py:Net", tmp_path))


def test_a_module_that_is_not_installed():
    assert refusal(ref("nothing_like_this:make")).startswith(
        "`nothing_like_this:make` cannot be imported: ModuleNotFoundError"
    )


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(0), StopIteration(), Stop()])
def test_what_the_callable_raises_names_it(error):
    def function():
        raise error

    with pytest.raises(UserCodeError) as caught:
        call(ref("net.py:Net"), function)
    assert caught.value.message.startswith(f"`net.py:Net` raised {type(error).__name__}")


def test_a_description_is_one_short_line():
    shown = describe(ValueError("a\nb" + "c" * 10_000))
    assert "\n" not in shown
    assert len(shown) < 600


def test_the_place_is_the_users_own_not_the_librarys():
    import json

    with pytest.raises(ValueError) as caught:
        json.loads("{")
    line = caught.value.__traceback__.tb_lineno
    assert describe(caught.value).endswith(f" (test_usercode.py:{line})")


def test_a_call_that_does_not_fit_has_no_place():
    with pytest.raises(UserCodeError) as caught:
        call(ref("net.py:Net"), lambda: None, width=3)
    assert caught.value.message.endswith("got an unexpected keyword argument 'width'")


def test_an_error_that_cannot_be_printed():
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError

    assert describe(Unspeakable()) == "Unspeakable"


def test_an_interrupt_is_not_the_users_fault():
    def function():
        raise Interrupted

    with pytest.raises(Interrupted):
        call(ref("net.py:Net"), function)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "None"), (3, "an int"), ([], "a list"), (object(), "an object")]
)
def test_kinds_of_values(value, text):
    assert kind_of(value) == text


def test_what_a_line_of_the_users_raises_is_theirs():
    with pytest.raises(ZeroDivisionError) as caught:
        divmod(1, 0)
    blamed = blame(caught.value)
    assert blamed.message.startswith(
        "code of the repository raised ZeroDivisionError: integer division or modulo by zero (test_usercode.py:"
    )


def test_what_no_line_of_the_users_raises_is_ours():
    with pytest.raises(KeyError) as caught:
        {}["x"]
    assert blame(KeyError("x")) is None
    assert blame(caught.value.with_traceback(None)) is None
