// What is shown stays as it is now: the service tells that something happened, and the page looks again.
"use strict";

(() => {
  const at = document.body.dataset.events;
  const LOOK_AGAIN_MS = 1000;
  const FALLBACK_MS = 30000;
  const MOVING_MS = 2000;
  const state = document.getElementById("live-state");
  let source = null;
  let timer = null;
  let looked = 0;

  function say(is_on, words) {
    const dot = state && state.querySelector(".dot");
    if (!dot) return;
    dot.className = "dot " + (is_on ? "on" : "off");
    const said = state.querySelector(".said");
    if (said.textContent !== words) said.textContent = words;
  }

  function look() {
    timer = null;
    looked = Date.now();
    document.body.dispatchEvent(new CustomEvent("changed"));
  }

  // The first at once, the others not more often than once a second, and none is left out.
  function changed() {
    if (timer === null) timer = setTimeout(look, Math.max(0, looked + LOOK_AGAIN_MS - Date.now()));
  }

  function open() {
    if (source || !at) return;
    source = new EventSource(at);
    source.addEventListener("open", () => {
      say(true, "live");
      changed(); // something may have happened between the page and the stream
    });
    source.addEventListener("move", changed);
    source.addEventListener("error", () => {
      say(false, "not connected");
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(open, 5000);
      }
    });
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  // A browser has six connections to a server: a page that nobody looks at needs none.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
    } else if (at) {
      open();
      changed();
    }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => {
    if (event.persisted) open();
  });
  if (at) setInterval(() => document.hidden || changed(), FALLBACK_MS);
  // What payloads say on their way is no event: while there may be some, the page looks for itself.
  if (at) setInterval(() => document.hidden || !document.querySelector("[data-moving]") || changed(), MOVING_MS);
  open();

  // What was opened stays open when it is shown anew, and scrolled to where it was.
  const kept = new Map();
  const opened = new Set();
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    for (const box of event.detail.target.querySelectorAll("details[id][open]")) opened.add(box.id);
    for (const box of event.detail.target.querySelectorAll(".wide")) {
      kept.set(box.getAttribute("aria-label"), [box.scrollLeft, box.scrollTop, document.activeElement === box]);
    }
  });
  document.body.addEventListener("htmx:afterSettle", () => {
    for (const box of document.querySelectorAll(".wide")) {
      const was = kept.get(box.getAttribute("aria-label"));
      if (was) {
        [box.scrollLeft, box.scrollTop] = was;
        if (was[2]) box.focus({ preventScroll: true });
      }
    }
    kept.clear();
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    opened.clear();
  });

  // What an order would touch is shown in a dialog; without scripts it is a page.
  const dialog = document.getElementById("dialog");
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === dialog && !dialog.open) dialog.showModal();
  });
  if (dialog) {
    dialog.addEventListener("click", (event) => {
      if (event.target.closest("[data-close]")) {
        event.preventDefault();
        dialog.close();
      }
    });
  }
})();
