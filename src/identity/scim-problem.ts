/** A refusal in the words of SCIM (RFC 7644, section 3.12): what its clients understand. */

export type ScimType =
  | 'invalidFilter'
  | 'invalidPath'
  | 'invalidSyntax'
  | 'invalidValue'
  | 'mutability'
  | 'noTarget'
  | 'tooMany'
  | 'uniqueness';

export class ScimProblem extends Error {
  readonly httpStatus: number;
  readonly scimType: ScimType | undefined;

  constructor(httpStatus: number, detail: string, scimType?: ScimType) {
    super(detail);
    this.name = 'ScimProblem';
    this.httpStatus = httpStatus;
    this.scimType = scimType;
  }
}

export function invalidValue(detail: string): ScimProblem {
  return new ScimProblem(400, detail, 'invalidValue');
}

export function noResource(kind: 'user' | 'group', id: string): ScimProblem {
  return new ScimProblem(404, `there is no ${kind} ${JSON.stringify(id.slice(0, 100))}`);
}
