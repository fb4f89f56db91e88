// Times in the reader's own zone. The server writes them in UTC, for pages without scripts.

export function localTime(instant) {
  return new Date(instant).toLocaleString([], { dateStyle: "long", timeStyle: "short" });
}

export function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    time.textContent = localTime(time.dateTime);
  }
}

showLocalTimes(document);
