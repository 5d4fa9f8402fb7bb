/** The procedures of NFS version 3 by number: RFC 1813 3. */
import type { Procedure } from "../call.ts";
import { access } from "./access.ts";
import { commit } from "./commit.ts";
import { create } from "./create.ts";
import { fsinfo } from "./fsinfo.ts";
import { fsstat } from "./fsstat.ts";
import { getattr } from "./getattr.ts";
import { link } from "./link.ts";
import { lookup } from "./lookup.ts";
import { mkdir } from "./mkdir.ts";
import { mknod } from "./mknod.ts";
import { nullProcedure } from "./null.ts";
import { pathconf } from "./pathconf.ts";
import { read } from "./read.ts";
import { readdir } from "./readdir.ts";
import { readdirplus } from "./readdirplus.ts";
import { readlink } from "./readlink.ts";
import { remove } from "./remove.ts";
import { rename } from "./rename.ts";
import { rmdir } from "./rmdir.ts";
import { setattr } from "./setattr.ts";
import { symlink } from "./symlink.ts";
import { write } from "./write.ts";

/** A procedure whose argument type only it knows: what it decodes, it runs. */
// biome-ignore lint/suspicious/noExplicitAny: each procedure is only ever given what its own `decode` returned
type AnyProcedure = Procedure<any>;

export const NFS_PROCEDURES: readonly AnyProcedure[] = [
  nullProcedure,
  getattr,
  setattr,
  lookup,
  access,
  readlink,
  read,
  write,
  create,
  mkdir,
  symlink,
  mknod,
  remove,
  rmdir,
  rename,
  link,
  readdir,
  readdirplus,
  fsstat,
  fsinfo,
  pathconf,
  commit,
];
