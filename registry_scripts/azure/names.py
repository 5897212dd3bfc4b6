"""The names that provision and deploy are given."""

from steps.sentiment.command_line import InputError, Values, like, something

#: The template of the container app, and what its deployment's name ends with.
APP = "app"
#: Reads the name of a resource group; it may be empty.
group_name = like(r"[\w().-]{0,89}[\w()-]", "the name of a resource group: letters, digits and _ ( ) . -, at most 90")
_app = like(r"[a-z](?!.*--)[a-z0-9-]{1,18}[a-z0-9]", "3 to 20 small letters, digits and single -")


def app_name(text: str) -> str:
    """Read the name that all resources begin with."""
    return _app(something(text))


def need(given: Values, *names: str) -> None:
    """See that flags which have no default were given.

    Raises:
        InputError: one was not.
    """
    for name in names:
        if not given.texts[name]:
            raise InputError(f"--{name}: got ''; allowed: a value, it must be given")
