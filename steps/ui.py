"""A web page to try the model: one tweet, a list of them, the last hour of the endpoint, two versions side by side.

    make serve                                  # the endpoint that the page asks, in another terminal
    mlflow run . -e ui --env-manager local
    python -m steps.ui --endpoint https://sentiment.example --port 8502

Opens on http://127.0.0.1:8501 within some seconds, and ends on SIGTERM or Ctrl-C. Asks the endpoint over HTTP alone;
SERVE_API_KEY is the key where it asks for one, and whoever can open the page can use that key through it. Leaves nothing.
"""

import os
import re
from pathlib import Path

import uvicorn
from streamlit import App
from streamlit.web import bootstrap

from steps.sentiment import command_line
from steps.sentiment.command_line import Flags, integer, something
from steps.sentiment.listening import listen
from steps.sentiment.page import uploads, watch

#: Settings of Streamlit: nothing is told to its makers, nothing of the code is shown to a visitor; white on these colours is readable.
SETTINGS = {
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "logger.level": "warning",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": uploads.MOST_MEGABYTES,
    "theme.light.primaryColor": "#0b5cad",
    "theme.dark.primaryColor": "#2a78c8",
}
_ADDRESS = re.compile(r"https?://[^/\s?#]+(/[^\s?#]*)?")


def address(text: str) -> str:
    """Read the address of an endpoint."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError("the address of an endpoint, http://127.0.0.1:5001 for example")
    return text


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("ui", __doc__)
    flags.flag("endpoint", "http://127.0.0.1:5001", "address of the endpoint that answers", address)
    flags.flag("host", "127.0.0.1", "address to listen on; 0.0.0.0: all", something)
    flags.flag("port", "8501", "port to listen on", integer(1, 65_535))
    return flags


def main(argv: list[str] | None = None) -> None:
    """Serve the page."""
    given = flags().read(argv)
    with listen(given.host, given.port) as listening:
        os.environ["UI_ENDPOINT"] = given.endpoint
        bootstrap.load_config_options(SETTINGS)
        watch.of(given.endpoint, os.environ.get("SERVE_API_KEY", ""))
        app = App(Path(watch.__file__).with_name("app.py"))
        config = uvicorn.Config(app, access_log=False, log_level="warning", timeout_graceful_shutdown=2)
        print(f"ui: http://{given.host}:{given.port} asks {given.endpoint}", flush=True)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    command_line.run(main, "ui")
