// Reads the live parts of the page again, every few seconds. Without it, the page works the same after a reload.
"use strict";
(() => {
  const interval = Number(document.body.dataset.refresh);
  const pause = document.getElementById("pause");
  const trouble = document.getElementById("trouble");
  if (!pause || !interval) {
    return;
  }
  let paused = false;
  let reading = false;

  // place names the element that has the focus, so that it can get it again when it was replaced.
  function place(root) {
    const focused = document.activeElement;
    if (!focused || !root.contains(focused)) {
      return null;
    }
    const same = [...root.querySelectorAll(focused.localName)].filter((e) => e.outerHTML === focused.outerHTML);
    return { name: focused.localName, html: focused.outerHTML, index: same.indexOf(focused) };
  }

  function restore(root, focused) {
    const same = [...root.querySelectorAll(focused.name)].filter((e) => e.outerHTML === focused.html);
    const next = same[focused.index] ?? same[0];
    if (next) {
      next.focus({ preventScroll: true });
    }
  }

  function replace(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(old.id);
      // What is the same stays, so that it is neither announced nor loses a selection.
      if (!next || next.innerHTML === old.innerHTML) {
        continue;
      }
      const selection = document.getSelection();
      if (selection && !selection.isCollapsed && old.contains(selection.anchorNode)) {
        continue; // somebody copies a text
      }
      const focused = place(old);
      old.replaceChildren(...next.childNodes);
      if (focused) {
        restore(old, focused);
      }
    }
  }

  // tell says why the page is old, so that nobody takes an old result for the present one.
  function tell(text) {
    const whole = text && text + " The page shows what was read at the time above.";
    if (trouble.textContent !== whole) {
      trouble.textContent = whole;
    }
  }

  async function read() {
    if (paused || reading || document.hidden) {
      return;
    }
    reading = true;
    try {
      const response = await fetch(location.href, { headers: { "Postern-Part": "live" }, redirect: "error", signal: AbortSignal.timeout(30000) });
      if (response.status === 403) {
        tell("This browser is signed out. Open the newest link that the console prints in your terminal.");
      } else if (!response.ok) {
        tell("Not updated: the cluster could not be read. Reload the page to see why.");
      } else {
        const text = await response.text();
        if (!paused) {
          replace(text);
        }
        tell("");
      }
    } catch {
      tell("Not updated: the console does not answer. It may have ended in your terminal.");
    } finally {
      reading = false;
    }
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume updates" : "Pause updates";
    read();
  });
  document.addEventListener("visibilitychange", read);
  setInterval(read, interval);
})();
