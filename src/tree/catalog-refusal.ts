/** What was asked of the catalog cannot be as things are, and nothing was changed. The message says what can be done. */
export class CatalogRefusal extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CatalogRefusal";
  }
}
