/** One change of the rules, and for which connections it is. */
import type { PolicyChange } from './policy-input.ts';

export type Labels = Readonly<Record<string, string>>;

/** A change, and the labels of the connections that it is for; undefined = all of them. */
export interface RuleChange extends PolicyChange {
  readonly labels: Labels | undefined;
}

/** Every connection with labels `inner` has labels `outer`, too. */
export function isWithin(inner: Labels, outer: Labels): boolean {
  return Object.entries(outer).every(([name, value]) => Object.hasOwn(inner, name) && inner[name] === value);
}

/** Some connection can have both. */
export function mayMeet(one: Labels, other: Labels): boolean {
  return Object.entries(one).every(([name, value]) => !Object.hasOwn(other, name) || other[name] === value);
}

export function placeText(labels: Labels): string {
  const given = Object.entries(labels);
  return given.length === 0 ? 'every connection' : given.map(([name, value]) => `${name}=${value}`).join(', ');
}
