// Requests to the server, and its events. What it refuses is an Error with its words.

async function answerOf(response) {
  const value = await response.json().catch(() => ({}));
  if (!response.ok)
    throw new Error(value.error || `The server answered ${response.status}.`);
  return value;
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name == "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  return answerOf(response);
}

export const get = path => ask(path);
export const post = (path, value, options = {}) => ask(path, {
  method: "POST", headers: {"Content-Type": "application/json"},
  body: JSON.stringify(value ?? {}), ...options,
});
export const remove = path => ask(path, {method: "DELETE"});

export function sendFile(file, settings) {
  const query = new URLSearchParams(
    {name: file.name, settings: JSON.stringify(settings)});
  return ask(`/api/files?${query}`, {
    method: "POST", headers: {"Content-Type": "application/octet-stream"}, body: file,
  });
}

export function listen(handlers, onlink) {
  const source = new EventSource("/api/events");
  source.onopen = () => onlink(true);
  source.onerror = () => {
    onlink(false);
    // Refused, as after a new start of the server: browsers do not try again.
    if (source.readyState == EventSource.CLOSED)
      setTimeout(() => listen(handlers, onlink), 4000);
  };
  for (const [kind, handle] of Object.entries(handlers))
    source.addEventListener(kind, event => handle(JSON.parse(event.data)));
}
