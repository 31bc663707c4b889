// What workerd loads: worker-build's output, with the object classes as subclasses of DurableObject,
// which is what the runtime asks of a class that is called by RPC.
//
// The Worker is two modules (decision 9). The gateway, which agents' requests need, is loaded with the
// Worker; the office, which is all the rest, when somebody asks for it.
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import * as gateway from "../build/index.js";

// Every turn of a future in Wasm asks for a microtask. The runtime's own function for that wraps its
// argument each time, which costs several times what a promise's continuation does (bench/NOTES.md).
globalThis.queueMicrotask = (task) => void Promise.resolve().then(task);

// Loaded when a body comes compressed that has to be read.
globalThis.loadZlib = () => import("node:zlib");

const office = () => import("../build-office/index.js");

const ofAgents =
  /^https?:\/\/[^/]+\/+(?:(?:v1|u|health|chat|completions|responses|embeddings|models|messages|images|audio|moderations|rerank)(?:[/?#]|$)|[?#]|$)/i;

// Letters may be written as escapes; `domain::path::canonical` undoes them.
const unescaped = (url) =>
  url.includes("%") ? url.replace(/%(?:3\d|[4-7][0-9a-f])/gi, (it) => decodeURIComponent(it)) : url;

class Gateway extends WorkerEntrypoint {
  async fetch(request) {
    const isOfAgents = ofAgents.test(unescaped(request.url));
    // Who floods is refused here, before anything of the request is read (decision 14).
    const refusal = isOfAgents && gateway.Held.repeated(request, this.env, this.ctx);
    if (refusal) return refusal;
    const module = isOfAgents ? gateway : await office();
    return module.default.prototype.fetch.call(this, request);
  }
  async scheduled(event) {
    return (await office()).default.prototype.scheduled.call(this, event);
  }
}

// Under a name too: `cargo xtask serve` goes to it directly, past the runtime's router of assets.
export { Gateway as default, Gateway };

// The class of an object that agents' requests need.
const ofGateway = (name) =>
  class extends DurableObject {
    #object;
    constructor(state, env) {
      super(state, env);
      this.#object = new gateway[name](state, env);
    }
    receive(message) {
      return this.#object.receive(message);
    }
    alarm() {
      return this.#object.alarm();
    }
  };

// The class of one whose work can wait for the office to be loaded.
const ofOffice = (name) =>
  class extends DurableObject {
    #object;
    constructor(state, env) {
      super(state, env);
      this.#object = office().then((office) => new office[name](state, env));
    }
    async receive(message) {
      return (await this.#object).receive(message);
    }
    async alarm() {
      return (await this.#object).alarm();
    }
  };

export const UserSession = ofGateway("UserSession");
export const Guesses = ofGateway("Guesses");
export const UpstreamSlots = ofGateway("UpstreamSlots");
export const Customer = ofOffice("Customer");
export const Farewell = ofOffice("Farewell");
export const Alerts = ofOffice("Alerts");
export const Actions = ofOffice("Actions");
