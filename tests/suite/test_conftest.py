"""The guard of tests/conftest.py itself: without a kernel ipywidgets swallows what a click handler raises."""

pytest_plugins = ["pytester"]

CLICK = """
import ipywidgets, pytest

{mark}
def test_click():
    button = ipywidgets.Button()
    button.on_click(lambda _: 1 / 0)
    button.click()
"""


def outcomes(pytester, request, mark):
    pytester.makeconftest((request.config.rootpath / "tests" / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers =\n    callback_may_raise: x")
    pytester.makepyfile(CLICK.format(mark=mark))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    return result, result.parseoutcomes()


def test_a_swallowed_callback_error_fails_the_test(pytester, request):
    result, counts = outcomes(pytester, request, "")
    assert counts == {"passed": 1, "errors": 1}
    result.stdout.fnmatch_lines(["*a widget callback raised*division by zero*"])


def test_a_test_may_allow_it(pytester, request):
    _, counts = outcomes(pytester, request, "@pytest.mark.callback_may_raise")
    assert counts == {"passed": 1}
