// What workerd loads: worker-build's output, with the object classes as subclasses of DurableObject,
// which is what the runtime asks of a class that is called by RPC.
//
// The Worker is two modules (decision 9). The gateway, which agents' requests need, is loaded with the
// Worker; the office, which is all the rest, when somebody asks for it.
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import * as gateway from "../build/index.js";

const office = () => import("../build-office/index.js");

const ofAgents = /^https?:\/\/[^/]+\/(?:v1|u|health)(?:[/?#]|$)/;

class Gateway extends WorkerEntrypoint {
  async fetch(request) {
    const module = ofAgents.test(request.url) ? gateway : await office();
    return module.default.prototype.fetch.call(this, request);
  }
  async scheduled(event) {
    return (await office()).default.prototype.scheduled.call(this, event);
  }
}

// Under a name too: `cargo xtask serve` goes to it directly, past the runtime's router of assets.
export { Gateway as default, Gateway };

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

export class UpstreamSlots extends DurableObject {
  #slots;
  constructor(state, env) {
    super(state, env);
    this.#slots = new gateway.UpstreamSlots(state, env);
  }
  receive(message) {
    return this.#slots.receive(message);
  }
  alarm() {
    return this.#slots.alarm();
  }
}

// What it does can wait for the office to be loaded.
export class Customer extends DurableObject {
  #customer;
  constructor(state, env) {
    super(state, env);
    this.#customer = office().then((office) => new office.Customer(state, env));
  }
  async receive(message) {
    return (await this.#customer).receive(message);
  }
  async alarm() {
    return (await this.#customer).alarm();
  }
}

export class Farewell extends DurableObject {
  #farewell;
  constructor(state, env) {
    super(state, env);
    this.#farewell = office().then((office) => new office.Farewell(state, env));
  }
  async receive(message) {
    return (await this.#farewell).receive(message);
  }
  async alarm() {
    return (await this.#farewell).alarm();
  }
}

export class Alerts extends DurableObject {
  #alerts;
  constructor(state, env) {
    super(state, env);
    this.#alerts = office().then((office) => new office.Alerts(state, env));
  }
  async receive(message) {
    return (await this.#alerts).receive(message);
  }
  async alarm() {
    return (await this.#alerts).alarm();
  }
}

export class Actions extends DurableObject {
  #actions;
  constructor(state, env) {
    super(state, env);
    this.#actions = office().then((office) => new office.Actions(state, env));
  }
  async receive(message) {
    return (await this.#actions).receive(message);
  }
  async alarm() {
    return (await this.#actions).alarm();
  }
}
