import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FileName } from "../bytes/file-name.ts";
import { NFS_PROCEDURES } from "./procedures/table.ts";
import {
  type Bench,
  createBench,
  encodeRecord,
  newAttributes,
  readAttributes,
  readPostAttributes,
  readWcc,
  TREE_ID,
} from "./test-client.ts";
import type { Encode, XdrReader } from "./xdr.ts";

const name = (text: string) => text as FileName;
const ROOT_OWNED = { mode: 0o644, uid: 0, gid: 0 };

/** `diropargs3`. */
function operand(directory: Uint8Array, entry: string): Encode {
  return (args) => args.opaque(directory).name(name(entry));
}

function lookup(bench: Bench, directory: Uint8Array, entry: string): Uint8Array {
  const { status, body } = bench.nfs("LOOKUP", operand(directory, entry));
  expect(status).toBe("NFS3_OK");
  return body.opaque(64, "object").slice();
}

/** A plain file with these contents in the root directory; its handle. */
function makeFile(bench: Bench, entry: string, contents = "", mode = 0o644): Uint8Array {
  const id = bench.volume.create(2, name(entry), { kind: "guarded" }, { ...ROOT_OWNED, mode });
  if (contents) bench.volume.write(id, 0, Buffer.from(contents));
  return lookup(bench, bench.root, entry);
}

describe("GETATTR and LOOKUP", () => {
  it("tell type, size, owner and id, and end there", () => {
    const bench = createBench();
    const { body } = bench.nfs("GETATTR", (args) => args.opaque(makeFile(bench, "f", "hello")));
    expect(readAttributes(body)).toMatchObject({ type: 1, mode: 0o644, linkCount: 1, sizeBytes: 5, fsid: 1n });
    body.end();
  });

  it("find . and .. and say NOENT with the directory's attributes for what is not there", () => {
    const bench = createBench();
    expect(lookup(bench, bench.root, ".")).toEqual(bench.root);
    expect(lookup(bench, bench.root, "..")).toEqual(bench.root);
    const { status, body } = bench.nfs("LOOKUP", operand(bench.root, "missing"));
    expect([status, readPostAttributes(body)?.type]).toEqual(["NFS3ERR_NOENT", 2]);
    body.end();
  });
});

describe("READ", () => {
  it.each([
    ["the middle", 1, 3, "ell", false],
    ["up to the end", 1, 4, "ello", true],
    ["beyond the end", 3, 100, "lo", true],
    ["after the end", 9, 100, "", true],
    ["at an offset above 2^53", 2 ** 60, 100, "", true],
  ])("returns %s", (_, offset, count, text, isEnd) => {
    const bench = createBench();
    const handle = makeFile(bench, "f", "hello");
    const { status, body } = bench.nfs("READ", (args) => args.opaque(handle).hyper(offset).u32(count));
    expect([status, readPostAttributes(body)?.sizeBytes]).toEqual(["NFS3_OK", 5]);
    expect([body.u32("count"), body.bool("eof")]).toEqual([text.length, isEnd]);
    expect(Buffer.from(body.opaque(1000, "data")).toString()).toBe(text);
    body.end();
    expect(bench.service.counters(TREE_ID).readBytes).toBe(text.length);
  });
});

describe("WRITE and COMMIT", () => {
  const write = (handle: Uint8Array, offset: number, text: string, stable: number): Encode => {
    return (args) => args.opaque(handle).hyper(offset).u32(text.length).u32(stable).opaque(Buffer.from(text));
  };

  it.each([
    ["UNSTABLE", 0, 0],
    ["DATA_SYNC, done as FILE_SYNC", 1, 2],
    ["FILE_SYNC", 2, 2],
  ])("promise %s", (_, asked, promised) => {
    const bench = createBench();
    const handle = makeFile(bench, "f", "hello");
    const { status, body } = bench.nfs("WRITE", write(handle, 4, "p!", asked));
    const wcc = readWcc(body);
    expect([status, wcc.before?.sizeBytes, wcc.after?.sizeBytes]).toEqual(["NFS3_OK", 5, 6]);
    expect([body.u32("count"), body.u32("committed")]).toEqual([2, promised]);
    expect(body.u64("verf")).toBe(0x0102030405060708n);
    body.end();
    expect(bench.changes).toEqual([{ treeId: TREE_ID, fileId: 11 }]);
    expect(bench.service.counters(TREE_ID).writtenBytes).toBe(2);

    const commit = bench.nfs("COMMIT", (args) => args.opaque(handle).hyper(0).u32(0));
    expect([commit.status, readWcc(commit.body).after?.sizeBytes]).toEqual(["NFS3_OK", 6]);
    expect(commit.body.u64("verf")).toBe(0x0102030405060708n);
  });

  it("tell by another verifier that unstable data were lost, also those of a write that was under way", () => {
    const bench = createBench();
    const handle = makeFile(bench, "f", "hello");
    const verifierOf = (body: XdrReader, skipBytes: number) => {
      readWcc(body);
      body.skip(skipBytes, "count, committed");
      return body.u64("verf");
    };
    const { write: writeToVolume } = bench.volume;
    bench.volume.write = (...args) => {
      writeToVolume.apply(bench.volume, args);
      bench.volume.lossCount = 1;
    };
    expect(verifierOf(bench.nfs("WRITE", write(handle, 0, "lost", 0)).body, 8)).toBe(0x0102030405060708n);
    const commit = () => bench.nfs("COMMIT", (args) => args.opaque(handle).hyper(0).u32(0)).body;
    expect(verifierOf(commit(), 0)).toBe(0x0102030405060709n);
    expect(verifierOf(bench.nfs("WRITE", write(handle, 0, "kept", 0)).body, 8)).toBe(0x0102030405060709n);
    expect(verifierOf(commit(), 0)).toBe(0x0102030405060709n);
  });

  it("take the set-id bits before the bytes of another are there", () => {
    const bench = createBench();
    const handle = makeFile(bench, "f", "#!/bin/sh", 0o6777);
    const { write: writeToVolume } = bench.volume;
    const modes: number[] = [];
    bench.volume.write = (...args) => {
      modes.push(bench.volume.getattr(args[0]).mode);
      writeToVolume.apply(bench.volume, args);
    };
    const number = NFS_PROCEDURES.findIndex(({ name }) => name === "WRITE");
    for (const uid of [0, 1000]) bench.connection.arrive(encodeRecord(number, write(handle, 0, "evil", 2), { uid }));
    expect(modes).toEqual([0o6777, 0o777]);
  });

  it("refuse what no file can hold", () => {
    const bench = createBench();
    const handle = makeFile(bench, "f");
    const { status, body } = bench.nfs("WRITE", write(handle, 2 ** 60, "x", 0));
    expect([status, readWcc(body).after?.sizeBytes]).toEqual(["NFS3ERR_FBIG", 0]);
  });
});

describe("CREATE", () => {
  it("answers handle, attributes and the directory before and after", () => {
    const bench = createBench();
    const { status, body } = bench.nfs(
      "CREATE",
      (args) => {
        operand(bench.root, "new")(args);
        args.u32(1);
        newAttributes(0o640)(args);
      },
      { uid: 0, gid: 5 },
    );
    expect(status).toBe("NFS3_OK");
    expect(body.bool("handle follows")).toBe(true);
    expect(body.opaque(64, "handle").slice()).toEqual(lookup(bench, bench.root, "new"));
    expect(readPostAttributes(body)).toMatchObject({ mode: 0o640, uid: 0, gid: 5 });
    expect(readWcc(body)).toMatchObject({ before: { sizeBytes: 0 }, after: { type: 2 } });
    body.end();
    expect(bench.changes).toEqual([{ treeId: TREE_ID, fileId: 11, place: { directoryId: 2, name: "new" } }]);
  });

  it("knows an exclusive creation again by its verifier, whatever its xid", () => {
    const bench = createBench();
    const create = (verifier: number) =>
      bench.nfs("CREATE", (args) => {
        operand(bench.root, "lock")(args);
        args.u32(2).hyper(verifier);
      }).status;
    expect([create(1), create(1), create(2)]).toEqual(["NFS3_OK", "NFS3_OK", "NFS3ERR_EXIST"]);
  });
});

describe("READDIR and READDIRPLUS", () => {
  const COUNT = 300;

  function benchWithFiles(): Bench {
    const bench = createBench();
    for (let index = 0; index < COUNT; index++) {
      bench.volume.create(2, name(`file-${"x".repeat(index % 40)}-${index}`), { kind: "guarded" }, ROOT_OWNED);
    }
    return bench;
  }

  function readEntries(body: XdrReader, isPlus: boolean): { names: string[]; cookie: bigint; isEnd: boolean } {
    readPostAttributes(body);
    body.skip(8, "cookieverf");
    const names: string[] = [];
    let cookie = 0n;
    while (body.bool("entry follows")) {
      const id = body.hyper("fileid");
      names.push(body.name("name"));
      cookie = body.u64("cookie");
      if (isPlus) {
        expect(readPostAttributes(body)?.id).toBe(id);
        expect(body.bool("handle follows")).toBe(true);
        body.opaque(64, "handle");
      }
    }
    const isEnd = body.bool("eof");
    body.end();
    return { names, cookie, isEnd };
  }

  it("return every entry once, in pieces of any size that never exceed it", () => {
    const bench = benchWithFiles();
    fc.assert(
      fc.property(fc.boolean(), fc.integer({ min: 400, max: 20_000 }), fc.nat({ max: 9000 }), (isPlus, max, names) => {
        const all: string[] = [];
        for (let cookie = 0n, isEnd = false; !isEnd; ) {
          const { status, body } = bench.nfs(isPlus ? "READDIRPLUS" : "READDIR", (args) => {
            args.opaque(bench.root).u64(cookie).zeros(8);
            if (isPlus) args.u32(names);
            args.u32(max);
          });
          expect(status).toBe("NFS3_OK");
          expect(body.remainingBytes).toBeLessThanOrEqual(max);
          const piece = readEntries(body, isPlus);
          all.push(...piece.names);
          ({ cookie, isEnd } = piece);
        }
        expect(all.slice(0, 2)).toEqual([".", ".."]);
        expect(new Set(all).size).toBe(COUNT + 2);
        expect(all.length).toBe(COUNT + 2);
      }),
      { numRuns: 30 },
    );
  });

  it.each([
    ["READDIR", false],
    ["READDIRPLUS", true],
  ])("%s says TOOSMALL when not one entry fits", (procedure, isPlus) => {
    const bench = benchWithFiles();
    const { status, body } = bench.nfs(procedure, (args) => {
      args.opaque(bench.root).hyper(0).zeros(8);
      if (isPlus) args.u32(4096);
      args.u32(120);
    });
    expect([status, readPostAttributes(body)?.type]).toEqual(["NFS3ERR_TOOSMALL", 2]);
  });
});

/** Error replies carry the attributes of what the call named, and nothing else. */
describe("error replies", () => {
  const CASES: [procedure: string, args: (bench: Bench, file: Uint8Array) => Encode, status: string, body: string][] = [
    [
      "SETATTR",
      (_, file) => (args) => {
        args.opaque(file);
        newAttributes(0o600)(args);
        args.bool(true).u32(1).u32(2);
      },
      "NFS3ERR_NOT_SYNC",
      "wcc",
    ],
    ["LOOKUP", (_, file) => operand(file, "x"), "NFS3ERR_NOTDIR", "attributes"],
    ["ACCESS", () => (args) => args.opaque(new Uint8Array(28)).u32(1), "NFS3ERR_BADHANDLE", "no attributes"],
    ["READLINK", (_, file) => (args) => args.opaque(file), "NFS3ERR_INVAL", "attributes"],
    [
      "READ",
      ({ root }) =>
        (args) =>
          args.opaque(root).hyper(0).u32(1),
      "NFS3ERR_ISDIR",
      "attributes",
    ],
    [
      "WRITE",
      ({ root }) =>
        (args) =>
          args.opaque(root).hyper(0).u32(0).u32(0).u32(0),
      "NFS3ERR_ISDIR",
      "wcc",
    ],
    [
      "CREATE",
      ({ root }) =>
        (args) => {
          operand(root, "f")(args);
          args.u32(1);
          newAttributes(0)(args);
        },
      "NFS3ERR_EXIST",
      "wcc",
    ],
    [
      "MKDIR",
      ({ root }) =>
        (args) => {
          operand(root, "f")(args);
          newAttributes(0)(args);
        },
      "NFS3ERR_EXIST",
      "wcc",
    ],
    [
      "MKDIR",
      ({ root }) =>
        (args) => {
          operand(root, "x".repeat(256))(args);
          newAttributes(0)(args);
        },
      "NFS3ERR_NAMETOOLONG",
      "wcc",
    ],
    [
      "MKDIR",
      ({ root }) =>
        (args) => {
          operand(root, "a/b")(args);
          newAttributes(0)(args);
        },
      "NFS3ERR_INVAL",
      "wcc",
    ],
    [
      "SYMLINK",
      ({ root }) =>
        (args) => {
          operand(root, "s")(args);
          newAttributes()(args);
          args.opaque(new Uint8Array(0));
        },
      "NFS3ERR_INVAL",
      "wcc",
    ],
    [
      "MKNOD",
      ({ root }) =>
        (args) => {
          operand(root, "n")(args);
          args.u32(1);
        },
      "NFS3ERR_BADTYPE",
      "wcc",
    ],
    ["REMOVE", ({ root }) => operand(root, "missing"), "NFS3ERR_NOENT", "wcc"],
    ["RMDIR", ({ root }) => operand(root, "f"), "NFS3ERR_NOTDIR", "wcc"],
    [
      "RENAME",
      ({ root }) =>
        (args) => {
          operand(root, "missing")(args);
          operand(root, "y")(args);
        },
      "NFS3ERR_NOENT",
      "wcc wcc",
    ],
    [
      "LINK",
      ({ root }, file) =>
        (args) => {
          args.opaque(file);
          operand(root, "f")(args);
        },
      "NFS3ERR_EXIST",
      "attributes wcc",
    ],
    [
      "LINK",
      (_, file) => (args) => {
        args.opaque(file);
        operand(new Uint8Array(28), "f")(args);
      },
      "NFS3ERR_BADHANDLE",
      "attributes no-wcc",
    ],
    ["READDIR", (_, file) => (args) => args.opaque(file).hyper(0).hyper(0).u32(1000), "NFS3ERR_NOTDIR", "attributes"],
    [
      "COMMIT",
      ({ root }) =>
        (args) =>
          args.opaque(root).hyper(0).u32(0),
      "NFS3ERR_INVAL",
      "wcc",
    ],
  ];

  it.each(CASES)("%s", (procedure, args, expectedStatus, shape) => {
    const bench = createBench();
    const file = makeFile(bench, "f");
    const { status, body } = bench.nfs(procedure, args(bench, file));
    expect(status).toBe(expectedStatus);
    if (shape === "no attributes") expect(readPostAttributes(body)).toBeUndefined();
    else {
      for (const part of shape.split(" ")) {
        if (part === "attributes") expect(readPostAttributes(body)).toBeDefined();
        else if (part === "wcc") expect(readWcc(body)).toMatchObject({ before: {}, after: {} });
        else expect(readWcc(body)).toEqual({ before: undefined, after: undefined });
      }
    }
    body.end();
  });
});

describe("a read-only volume", () => {
  it("answers ROFS to everything that changes, and lets the rest be", () => {
    const bench = createBench();
    bench.volume.readOnly = true;
    const makeDirectory: Encode = (args) => {
      operand(bench.root, "d")(args);
      newAttributes(0o755)(args);
    };
    expect(bench.nfs("MKDIR", makeDirectory).status).toBe("NFS3ERR_ROFS");
    expect(bench.nfs("GETATTR", (args) => args.opaque(bench.root)).status).toBe("NFS3_OK");
  });
});

describe("what a file system says of itself", () => {
  it("offers transfers of 1 MiB, and hard and symbolic links", () => {
    const bench = createBench();
    const { body } = bench.nfs("FSINFO", (args) => args.opaque(bench.root));
    readPostAttributes(body);
    const words = [0, 1, 2, 3, 4, 5, 6].map(() => body.u32("size"));
    expect(words).toEqual([1 << 20, 1 << 20, 4096, 1 << 20, 1 << 20, 4096, 65536]);
    expect(body.hyper("maxfilesize")).toBe(2 ** 44 - 4096);
    expect([body.u32("s"), body.u32("ns"), body.u32("properties")]).toEqual([0, 1, 0x1b]);
    body.end();
  });

  it("has names of 255 bytes, case kept and distinguished", () => {
    const bench = createBench();
    const { body } = bench.nfs("PATHCONF", (args) => args.opaque(bench.root));
    readPostAttributes(body);
    expect([0, 1, 2, 3, 4, 5].map(() => body.u32("word"))).toEqual([65000, 255, 1, 1, 0, 1]);
    body.end();
  });

  it("does not distinguish case in the boot tree, which is FAT", () => {
    const bench = createBench();
    bench.volume.caseSensitive = false;
    const { body } = bench.nfs("PATHCONF", (args) => args.opaque(bench.root));
    readPostAttributes(body);
    expect([0, 1, 2, 3, 4, 5].map(() => body.u32("word"))).toEqual([65000, 255, 1, 1, 1, 1]);
  });
});
