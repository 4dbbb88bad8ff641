"""uv is told where pip takes packages from."""

import pytest

from install import requirements, uv_options


@pytest.mark.parametrize(
    ("configuration", "options"),
    [
        ("", []),
        ("global.index-url='https://a.example/simple'", ["--default-index=https://a.example/simple"]),
        (
            ":env:.index-url='https://env.example'\n"
            "global.index-url='https://global.example'\n"
            "install.index-url='https://install.example'\n"
            "wheel.index-url='https://wheel.example'",
            ["--default-index=https://env.example"],
        ),
        (
            "global.extra-index-url='https://a.example https://b.example'\nglobal.find-links='\\nfolder'",
            ["--index=https://a.example", "--index=https://b.example", "--find-links=folder"],
        ),
        ('global.index-url="https://a.example/it\'s"', ["--default-index=https://a.example/it's"]),
        (":env:.no-index='1'\nglobal.constraint='a.txt'", ["--no-index", "--constraints=a.txt"]),
        ("global.no-index='false'\nglobal.timeout='60'\n:env:.no-index='0'", []),
        ("global.no-index='true'\n:env:.no-index='no'", []),
    ],
)
def test_pips_sources_are_those_of_uv(configuration: str, options: list[str]) -> None:
    assert list(uv_options(configuration)) == options


def test_extras_are_added_to_the_dependencies() -> None:
    everything, fewest = requirements(["embedded", "dev"]), requirements([])
    assert set(fewest) < set(everything)
    assert any(line.startswith("pytest") for line in set(everything) - set(fewest))
