"""Where the lab keeps what."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

STATE = ROOT / ".lab"
"""Everything the lab makes; ignored by git. `./lab down` leaves only the caches and the logs in it."""

LOGS = STATE / "logs"
MESH = STATE / "mesh"
"""The operator's directory (`beectl --dir`): root key, operator key, private-network key."""

SSH_KEY = STATE / "ssh" / "id_ed25519"
CREATED = STATE / "inventory" / "created"
"""The hash of the inventories whose machines were made whole; absent before that."""

JOINED = STATE / "inventory" / "joined"
"""The hash of all that the machines were joined with; absent before that."""

COMMON_INVENTORY = STATE / "inventory" / "common.yml"
"""What every machine of the lab shares."""

INVENTORY = STATE / "inventory" / "machines.yml"
"""The machines of the lab."""

BIN = STATE / "bin"
"""Programs of this checkout, for scenarios of Molecule that were started without `./lab`."""

COLLECTIONS = STATE / "collections"
"""Where Ansible finds this checkout as the collection that it is."""

CONTAINERS_CONF = STATE / "containers.conf"
CACHE = STATE / "cache"
"""Wheels and images, good for the next `./lab up` as well."""

SHARED_PLAYBOOKS = ROOT / "molecule" / "shared"
JOIN_PLAYBOOK = ROOT / "playbooks" / "join-mesh.yml"
HELLO_MANIFEST = ROOT / "examples" / "hello.yml"
