// Passes each request on and each answer back, and keeps nothing: what the runtime allows.

export default {
  fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    return fetch(env.UPSTREAM + pathname + search, request);
  },
};
