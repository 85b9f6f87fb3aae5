"""The page as a visitor has it: what is done there, and what the browser complained about."""

from urllib.parse import urlsplit

NO_MORE_FRAMES = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FINISHED = """n => [...document.querySelectorAll('.card')]
    .filter(card => card.dataset.state !== 'running').length === n"""


class Visit:
    """A fresh profile with the page open.

    Args:
        width: Of the window, in pixels.
        scheme: What the system prefers: light or dark.
        ready: Runs with the page before it is opened.
    """

    def __init__(self, browser, url, media, axe_source, *, width=1280, scheme="light", ready=None):
        self.url = url
        self.media = media
        self._axe = axe_source
        self.allowed = []
        self.complaints = []
        self.requests = []
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, locale="en-GB"
        )
        self.page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        if ready:
            ready(self.page)
        self.open()

    def open(self):
        self.page.goto(self.url)
        self.page.wait_for_selector(".models, #settings .note.failed")

    def _heard(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def add(self, *names, finished=True):
        """Chooses files, and waits until every card has its answer."""
        before = self.page.locator(".card").count()
        self.page.set_input_files("#files", [str(self.media / name) for name in names])
        if finished:
            self.page.wait_for_function(FINISHED, arg=before + len(names))

    def wait_until(self, condition):
        """Waits for what happens on this side of the browser."""
        for _ in range(1500):
            if condition():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("has not happened in 30 seconds")

    def card(self, name):
        title = self.page.get_by_role("heading", name=name, exact=True)
        return self.page.locator(".card").filter(has=title)

    def ask_only(self, model):
        for box in self.page.locator(".models input").all():
            if model not in box.locator("xpath=..").inner_text():
                box.uncheck()

    def overflow(self):
        """Pixels that the page is wider than the window."""
        return self.page.evaluate(NO_MORE_FRAMES)

    def violations(self):
        """Serious and critical findings of axe-core."""
        self.page.evaluate(self._axe)
        found = self.page.evaluate("axe.run()")
        return [
            (one["id"], one["nodes"][0]["html"])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    def close(self):
        """Ends the visit.

        Raises:
            AssertionError: The browser complained, or a request left for another origin.
        """
        self.context.close()
        foreign = [
            request.url
            for request in self.requests
            if urlsplit(request.url).scheme not in ("data", "blob")
            and not request.url.startswith(f"{self.url}/")
        ]
        assert foreign == []
        complaints = [
            text for text in self.complaints if not any(part in text for part in self.allowed)
        ]
        assert complaints == []
