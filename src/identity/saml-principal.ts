/** Whom an assertion names, in our words. Pure. */
import type { SamlProviderConfiguration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { Principal } from './principal.ts';
import type { SamlAssertion } from './saml-response.ts';

const maxGroups = 10_000;

/**
 * @throws CountersignError `groups_claim_missing` when the attribute is not there, or the provider says that it left
 *   groups out
 */
export function samlPrincipal(configuration: SamlProviderConfiguration, assertion: SamlAssertion): Principal {
  const { name, groupsAttribute, emailAttribute, nameAttribute } = configuration;
  const { attributes, nameId } = assertion;
  const id = `${name}:${nameId}`;
  return {
    id,
    human: id,
    kind: 'person',
    displayName: onlyValue(attributes, nameAttribute) ?? nameId,
    email: onlyValue(attributes, emailAttribute),
    groups: groupsOf(attributes, groupsAttribute),
  };
}

function groupsOf(attributes: SamlAssertion['attributes'], name: string): string[] {
  // Entra ID, with more than 150 groups: a link to where they can be asked for, instead of the groups.
  const overage = [...attributes.keys()].some((key) => key.endsWith('/groups.link'));
  if (overage) {
    throw new CountersignError('groups_claim_missing', 'the assertion does not list the groups: there are too many', {
      hint: 'let the identity provider send only the groups that are assigned to the application',
    });
  }
  const values = attributes.get(name);
  if (values === undefined || values.length > maxGroups) {
    throw new CountersignError('groups_claim_missing', `the assertion has no groups: it lacks the attribute ${name}`, {
      hint: 'let the identity provider send the groups, or correct groupsAttribute of the provider',
    });
  }
  return [...new Set(values.map((value) => value.trim()).filter((value) => value !== ''))];
}

/** Two values are none: nobody knows which one counts. */
function onlyValue(attributes: SamlAssertion['attributes'], name: string | undefined): string | undefined {
  const [value, ...more] = (name === undefined ? undefined : attributes.get(name)) ?? [];
  return value === undefined || value === '' || more.length > 0 ? undefined : value;
}
