// The module that workerd loads: worker-build's output, with the object classes as subclasses of
// DurableObject, which is what the runtime asks of a class that is called by RPC.
import { DurableObject } from "cloudflare:workers";
import * as gateway from "../build/index.js";

export default gateway.default;

export class UserSession extends DurableObject {
  #session;
  constructor(state, env) {
    super(state, env);
    this.#session = new gateway.UserSession(state, env);
  }
  receive(message) {
    return this.#session.receive(message);
  }
  alarm() {
    return this.#session.alarm();
  }
}

export class Guesses extends DurableObject {
  #guesses;
  constructor(state, env) {
    super(state, env);
    this.#guesses = new gateway.Guesses(state, env);
  }
  receive(message) {
    return this.#guesses.receive(message);
  }
  alarm() {
    return this.#guesses.alarm();
  }
}
