/**
 * What the gateway knows of one SQL statement, as plain data. `analyse.ts` makes it from the text and a catalogue.
 * What could not be known is in the value itself (`unknowns`, `lineage.resolved === false`), never left out: whoever
 * reads these facts must treat it as the most dangerous thing (promise P7).
 */

export type StatementClass =
  | 'read' // SELECT, VALUES, TABLE without a write inside
  | 'write' // INSERT, UPDATE, DELETE, MERGE, TRUNCATE, also inside a CTE; SELECT … FOR UPDATE; nextval, setval
  | 'ddl' // every CREATE, ALTER, DROP, GRANT, COMMENT, SELECT INTO …
  | 'copy-out'
  | 'copy-in'
  | 'transaction' // BEGIN, COMMIT, ROLLBACK, SAVEPOINT, SET TRANSACTION
  | 'setting' // SET, RESET of an ordinary setting
  | 'show' // SHOW
  | 'explain' // EXPLAIN without ANALYZE (with ANALYZE it has the class of the inner statement)
  | 'session' // DEALLOCATE, DISCARD, LISTEN, UNLISTEN, NOTIFY, CLOSE, advisory locks
  | 'empty' // nothing but white space and comments
  | 'unknown'; // everything else, and everything that we did not understand

/** One column of one relation: the catalogue's numbers, plus names for people. */
export interface ColumnRef {
  readonly relationOid: number;
  readonly attnum: number;
  readonly schema: string;
  readonly relation: string;
  readonly column: string;
}

export interface RelationUse {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  readonly access: 'read' | 'write';
  /** False for relations reached only through a view, a partition or inheritance. */
  readonly direct: boolean;
}

export interface OutputColumn {
  readonly name: string;
  /** Every base column (views unfolded) on which the value depends in any way. Empty for constants. */
  readonly sources: readonly ColumnRef[];
  /** True when the value is one base column as it stands: no expression, cast, aggregate or set operation. */
  readonly verbatim: boolean;
}

export interface Equality {
  readonly column: ColumnRef;
  /** How many values one execution compares it with. */
  readonly values: number;
}

export type Lineage =
  | {
      readonly resolved: true;
      /** Output columns in order; empty where the statement returns no rows. `*` is expanded. */
      readonly outputs: readonly OutputColumn[];
      /**
       * Base columns about whose values anything but the outputs may tell, anywhere in the statement:
       * - what chooses, orders or groups rows: WHERE, JOIN, ORDER BY, GROUP BY, DISTINCT, HAVING, window clauses, FILTER,
       *   LIMIT, set operations, ON CONFLICT …;
       * - what an expression may fail on or decide by, also in a select list: operators other than `||` and the JSON
       *   accessors, CASE and AND/OR conditions, casts to anything but text, functions that are not total (`total.ts`);
       * - what is stored, unless it is a verbatim copy of the very column that it is stored in.
       * A plain `column IS [NOT] NULL` is none. What stands inside a view is its owner's and is not listed.
       */
      readonly predicates: readonly ColumnRef[];
      /** Base columns of which a predicate or condition asks by a plain `column IS [NOT] NULL`, or a COALESCE. */
      readonly nullTests: readonly ColumnRef[];
      /** Those of `predicates` about which nothing is asked but whether they are equal to constants; see `equality.ts`. */
      readonly equalities: readonly Equality[];
    }
  | { readonly resolved: false; readonly reason: string };

export interface StatementFacts {
  readonly class: StatementClass;
  /** The command word(s) as PostgreSQL would tag it, e.g. `SELECT`, `CREATE TABLE`. For people and policies. */
  readonly command: string;
  /** The statement's own text inside a multi-statement query, without the semicolon. */
  readonly text: string;
  /** The relation closure: direct uses, views unfolded, partitions and inheritance children. */
  readonly relations: readonly RelationUse[];
  /** Every reason why something is not understood. Not empty means: class is `unknown` for policy, whatever `class` says. */
  readonly unknowns: readonly string[];
  /** What a server would say, where that is the one reason why nothing is understood. */
  readonly fault?: StatementFault | undefined;
  /** Upper bound of rows that the statement can return, proven by its text; undefined = unbounded. */
  readonly rowsAtMost: number | undefined;
  /** OFFSET, or anything else that makes the statement one step of a paging loop. */
  readonly paging: boolean;
  /** Highest $n parameter, 0 for none. */
  readonly parameters: number;
  readonly lineage: Lineage;
  /** For class `setting` and SET: name in lower case, and the value where it is one constant. */
  readonly setting: { readonly name: string; readonly value: string | undefined } | undefined;
  /** For class `transaction`. */
  readonly transaction: 'begin' | 'commit' | 'rollback' | 'savepoint' | 'other' | undefined;
  /** For DECLARE, FETCH and MOVE, CLOSE. */
  readonly cursor: CursorUse | undefined;
  /** For PREPARE, EXECUTE and DEALLOCATE, and DISCARD ALL. Everything else in the facts of PREPARE is its statement's. */
  readonly prepared: PreparedUse | undefined;
  /** What becomes of temporary tables. */
  readonly temporary: TemporaryUse | undefined;
  /** For class `copy-out`, where nothing is unknown. */
  readonly copyOut: CopyOut | undefined;
  /** True when another execution with other integer constants after comparison operators has the same facts. */
  readonly constantFree: boolean;
}

export interface StatementFault {
  readonly kind: 'syntax' | 'relation' | 'prepared-statement';
  readonly message: string;
  /** Where in the text, in characters (code points) from 1, as an ErrorResponse counts them. */
  readonly position: number | undefined;
}

export type CursorUse =
  /** `holds`: WITH HOLD. */
  | { readonly action: 'declare'; readonly name: string; readonly holds: boolean }
  | { readonly action: 'fetch' | 'close'; readonly name: string }
  | { readonly action: 'close-all' };

export type PreparedUse =
  | { readonly action: 'prepare' | 'execute' | 'deallocate'; readonly name: string }
  | { readonly action: 'deallocate-all' };

export type TemporaryUse =
  | {
      readonly action: 'create';
      readonly name: string;
      /** Their names; undefined = not known. */
      readonly columns: readonly string[] | undefined;
      readonly dropsAtCommit: boolean;
      readonly ifNotExists: boolean;
    }
  | { readonly action: 'drop'; readonly names: readonly string[] }
  /** `doubt-all`: whether they are still there is not certain. */
  | { readonly action: 'drop-all' | 'doubt-all' };

/** COPY … TO STDOUT. */
export interface CopyOut {
  readonly format: 'text' | 'csv' | 'binary';
  /** One ASCII character each; without meaning in binary. */
  readonly delimiter: string;
  readonly quote: string;
  readonly escape: string;
  readonly nullText: string;
  /** The first row holds names. */
  readonly header: boolean;
  /** A query that returns the columns of the COPY … */
  readonly query: string;
  /** … except for these column numbers, which COPY leaves out: generated columns. */
  readonly leftOut: readonly number[];
}

export type RelationKind =
  | 'table'
  | 'partitioned-table'
  | 'view'
  | 'materialized-view'
  | 'foreign-table'
  | 'sequence'
  | 'composite-type'
  | 'other';

export interface CatalogueColumn {
  readonly attnum: number;
  readonly name: string;
  readonly typeOid: number;
  readonly typeName: string;
  readonly notNull: boolean;
  /** Generated columns: names of the columns of the same table that the expression reads. */
  readonly generatedFrom?: readonly string[] | undefined;
}

export interface CatalogueRelation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  readonly columns: readonly CatalogueColumn[];
  /** SELECT text of a view or materialized view (pg_get_viewdef, deparsed under an empty search_path). */
  readonly definition?: string | undefined;
  /** OIDs of inheritance children and partitions (direct ones). */
  readonly children: readonly number[];
  readonly parents: readonly number[];
  /** Has rewrite rules other than a view's own, or row-level security: texts go into the definition digest. */
  readonly rules: readonly string[];
  /** Triggers, defaults, constraints, options and owner, as texts that go into the definition digest. */
  readonly attached?: readonly string[] | undefined;
  /** Functions of users that reading or writing it calls, with the SHA-256 of their definitions. */
  readonly called?: readonly { readonly name: string; readonly digest: string }[] | undefined;
}

/** The catalogue of one target as one session sees it. Immutable: a change makes a new one with another version. */
export interface Catalogue {
  /** SHA-256 over everything in it. */
  readonly version: string;
  /** Schemas in the order in which an unqualified name is looked up; pg_catalog is implicit and first. */
  readonly searchPath: readonly string[];
  readonly relations: readonly CatalogueRelation[];
  relationByOid(oid: number): CatalogueRelation | undefined;
  /** With `schema` undefined the search path decides. pg_catalog and information_schema relations are included. */
  relationByName(schema: string | undefined, name: string): CatalogueRelation | undefined;
  /** Names (as stored) of functions, operators and types that the server did not come with. */
  readonly userFunctions: ReadonlySet<string>;
  readonly userOperators: ReadonlySet<string>;
  /** Those functions and operators that stand in pg_catalog or information_schema all the same. */
  readonly amongBuiltIn: ReadonlySet<string>;
  readonly userTypes: ReadonlySet<string>;
  /** Names that only enum types (and their arrays) bear: casts to them compute on their argument alone. */
  readonly enumTypes?: ReadonlySet<string> | undefined;
  /** OIDs of types whose values a function of users converts or compares without being named. */
  readonly convertedTypes: ReadonlySet<number>;
  /** Whether reading or writing the relation may call code of users that no text names; of 0, whether anything may. */
  callsUserCode(relationOid: number): boolean;
}
