/** Exchanges the code of a one-time link for a session, and then shows the page. */

import { openSession } from "./api.js";

const message = document.getElementById("message");

async function signIn() {
  const code = location.hash.slice(1);
  // The code must not stay in the address bar or in the history.
  history.replaceState(null, "", location.pathname);
  if (!code) {
    return;
  }
  message.textContent = "Signing in.";
  try {
    await openSession(code);
  } catch (fault) {
    message.textContent = `Sign-in failed: ${fault.message}`;
    return;
  }
  location.replace("/admin");
}

// A link that is opened while this page is shown changes only the fragment.
globalThis.addEventListener("hashchange", signIn);
signIn();
