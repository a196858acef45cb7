/** What the SCIM server says of itself (RFC 7643, sections 5 to 7), and how it shows its resources. */
import { groupSchema } from '../identity/scim-group.ts';
import { userSchema } from '../identity/scim-user.ts';
import type { ScimMember, StoredScimGroup, StoredScimUser } from '../store/scim.ts';

export const listSchema = 'urn:ietf:params:scim:api:messages:2.0:ListResponse';
export const errorSchema = 'urn:ietf:params:scim:api:messages:2.0:Error';
export const maxResults = 200;

interface Meta {
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

function metaOf(resourceType: string, location: string, { version, createdAt, updatedAt }: Meta) {
  const times = { created: createdAt.toISOString(), lastModified: updatedAt.toISOString() };
  return { resourceType, ...times, location, version: `W/"${version}"` };
}

export function userResource(user: StoredScimUser, groups: readonly StoredScimGroup[], base: string) {
  const extensions = Object.keys(user.rest).filter((name) => name.startsWith('urn:'));
  return {
    ...user.rest,
    schemas: [userSchema, ...extensions],
    id: user.id,
    userName: user.userName,
    externalId: user.externalId,
    active: user.active,
    groups: groups.map(({ id, displayName }) => ({ value: id, display: displayName, type: 'direct' })),
    meta: metaOf('User', `${base}/Users/${user.id}`, user),
  };
}

export function groupResource(group: StoredScimGroup, members: readonly ScimMember[] | undefined, base: string) {
  return {
    schemas: [groupSchema],
    id: group.id,
    displayName: group.displayName,
    externalId: group.externalId,
    members: members?.map(({ userId, userName }) => ({ value: userId, display: userName, type: 'User' })),
    meta: metaOf('Group', `${base}/Groups/${group.id}`, group),
  };
}

export function list(resources: readonly object[], total: number, startIndex: number) {
  return {
    schemas: [listSchema],
    totalResults: total,
    startIndex,
    itemsPerPage: resources.length,
    Resources: resources,
  };
}

export function serviceProviderConfig(base: string) {
  const no = { supported: false };
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig'],
    patch: { supported: true },
    bulk: { supported: false, maxOperations: 0, maxPayloadSize: 0 },
    filter: { supported: true, maxResults },
    changePassword: no,
    sort: no,
    etag: no,
    authenticationSchemes: [
      {
        type: 'oauthbearertoken',
        name: 'Bearer token',
        description: 'identity.scim of the configuration',
        primary: true,
      },
    ],
    meta: { resourceType: 'ServiceProviderConfig', location: `${base}/ServiceProviderConfig` },
  };
}

export function resourceTypes(base: string) {
  const type = (name: 'User' | 'Group', schema: string) => ({
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:ResourceType'],
    id: name,
    name,
    endpoint: `/${name}s`,
    schema,
    meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/${name}` },
  });
  return [type('User', userSchema), type('Group', groupSchema)];
}

interface AttributeOptions {
  readonly type?: string;
  readonly required?: boolean;
  readonly multiValued?: boolean;
  readonly mutability?: string;
  readonly uniqueness?: string;
  readonly subAttributes?: readonly object[];
}

function attribute(name: string, options: AttributeOptions = {}) {
  return {
    name,
    type: 'string',
    multiValued: false,
    required: false,
    caseExact: false,
    mutability: 'readWrite',
    returned: 'default',
    uniqueness: 'none',
    ...options,
  };
}

/** The attributes that mean something here; others of a user are kept as they were written. */
export function schemas(base: string) {
  const schema = (id: string, name: string, attributes: readonly object[]) => ({
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:Schema'],
    id,
    name,
    attributes,
    meta: { resourceType: 'Schema', location: `${base}/Schemas/${id}` },
  });
  const email = [attribute('value'), attribute('type'), attribute('primary', { type: 'boolean' })];
  const member = [attribute('value', { mutability: 'immutable' }), attribute('display', { mutability: 'readOnly' })];
  return [
    schema(userSchema, 'User', [
      attribute('userName', { required: true, uniqueness: 'server' }),
      attribute('active', { type: 'boolean' }),
      attribute('displayName'),
      attribute('emails', { type: 'complex', multiValued: true, subAttributes: email }),
    ]),
    schema(groupSchema, 'Group', [
      attribute('displayName', { required: true, uniqueness: 'server' }),
      attribute('members', { type: 'complex', multiValued: true, subAttributes: member }),
    ]),
  ];
}
