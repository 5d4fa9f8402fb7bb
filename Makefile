# make demo [ONCE=1] [IMAGE=path]   two virtual Pis boot from one image file on an isolated network
# make test                         rules, unit tests, real clients, whole boots in QEMU
# make bench [BENCH=image|nodes|…]  figures beside a peer, in one run
# make soak [ROUNDS=1000] [SEED=n]  the server killed at random moments, compared with what it had promised; the tests
#                                   with the kernel's NFS client for longer, more random changes beside overlayfs, each image
#                                   booted anew and reset, and Debian with its root in memory, dropped at each boot, and put back to a snapshot;
#                                   Ansible with our roles, over SSH on a virtual Pi; packages by apt; what logs in memory spare;
#                                   a million damaged inputs for each decoder of packets, partitions and FAT; a kernel on a Pi 3B of QEMU's
# make e2e-kubernetes                the scripts of k3s and kubeadm with stand-ins for the programs, in namespaces and on two virtual Pis
# make e2e-swarm                     from a manifest to a Docker Swarm on two and on four virtual Pis, with the real Docker of Debian: needs root
# make check                        compiler, biome, source rules, docs/DIAGNOSIS.md
.PHONY: build check test demo bench soak e2e-kubernetes e2e-swarm clean
.DEFAULT_GOAL := build

node_modules: package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch node_modules

build: node_modules
	node_modules/.bin/tsc -p tsconfig.build.json
	touch dist/.built

check: node_modules
	node_modules/.bin/tsc -p tsconfig.json
	node_modules/.bin/biome check .
	node tools/check-source.mjs
	node tools/diagnosis-page.mjs --check

test: check build
	tools/debian-packages test
	node_modules/.bin/vitest run

demo: build
	tools/debian-packages demo
	tools/demo $(if $(IMAGE),--image "$(IMAGE)") $(if $(ONCE),--once)

bench: build
	tools/debian-packages bench
	node tools/run-bench.mjs $(BENCH)

soak: build
	node tools/run-soak.mjs power-cut 5000 $(SEED)
	node tools/run-soak.mjs power-cut 5000 async $(SEED)
	node tools/run-soak.mjs crash $(or $(ROUNDS),1000) $(SEED)
	tools/debian-packages test
	SOAK=5 RESTARTS=20 OVERLAYFS_RUNS=2000 node_modules/.bin/vitest run \
	  test/lab/nfs-applications.test.ts test/lab/manager-restarts.test.ts test/tree/overlayfs.test.ts \
	  test/lab/ram.test.ts test/lab/ephemeral.test.ts test/lab/snapshots.test.ts test/fuzz/wire-decoders.test.ts \
	  test/fuzz/image-decoders.test.ts \
	  test/lab/boot.test.ts test/lab/models-kernel.test.ts test/lab/virtual-pi-spare.test.ts \
	  test/lab/doctor-firewall.test.ts test/lab/ansible.test.ts \
	  test/lab/log-writes.test.ts test/lab/packages.test.ts

e2e-kubernetes: build
	tools/debian-packages test
	SOAK=1 node_modules/.bin/vitest run --no-file-parallelism test/provision/kubernetes.test.ts test/e2e/kubernetes.test.ts test/e2e/kubeadm.test.ts

e2e-swarm: build
	tools/debian-packages test
	END_TO_END=1 node_modules/.bin/vitest run --no-file-parallelism test/e2e/swarm.test.ts test/e2e/swarm-managers.test.ts

clean:
	rm -rf dist .cache .demo
