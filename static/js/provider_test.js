// Tries a provider out without leaving its form. Without this script the form comes back instead,
// and the key has to be typed again.

const button = document.querySelector("button[name=_test]");
const result = document.querySelector("[data-test-result]");

async function test() {
  const body = new FormData(button.form);
  body.set("_test", "1");
  const answer = await fetch(window.location.href, {
    method: "POST",
    body,
    headers: { Accept: "application/json" },
  });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

button?.addEventListener("click", async (event) => {
  event.preventDefault();
  button.disabled = true;
  result.dataset.testResult = "";
  result.textContent = "Asking the provider …";
  try {
    const { ok, detail } = await test();
    result.dataset.testResult = ok ? "ok" : "failed";
    result.textContent = `${ok ? "✓" : "✗"} ${detail}`;
  } catch {
    result.dataset.testResult = "failed";
    result.textContent = "✗ chatd did not answer. Reload the page and try again.";
  } finally {
    button.disabled = false;
  }
});
