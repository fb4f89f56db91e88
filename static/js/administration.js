// What the pages of the administration gain from scripts; they work without.

const encoder = new TextEncoder();

function countBytes(box) {
  const counter = document.querySelector(`[data-bytes-of="${box.id}"]`);
  if (!counter) return;
  const used = encoder.encode(box.value).length;
  counter.textContent = used;
  counter.parentElement.classList.toggle("is-over", used > Number(box.dataset.maxBytes));
}

async function suggest(box) {
  const answer = await fetch(`${box.dataset.suggest}&q=${encodeURIComponent(box.value)}`);
  if (!answer.ok) return;
  const options = (await answer.json()).map(({ value, label }) => {
    const option = document.createElement("option");
    option.value = value;
    option.label = label;
    return option;
  });
  box.list.replaceChildren(...options);
}

let pause;

document.addEventListener("input", ({ target }) => {
  if (target.dataset.maxBytes) countBytes(target);
  if (target.dataset.suggest) {
    clearTimeout(pause);
    pause = setTimeout(() => suggest(target), 150);
  }
});
