"""Makes Rucio's tables, its root account, and the RSEs of the testbed; run by the Rucio environment's own Python.

Reads a JSON document from standard input: {"rses": {NAME: {"tape": bool, "prefix": FOLDER, "fts": URL}},
"scopes": [...], "account": NAME, "password": TEXT}; the account is the service's.
"""

import json
import sys
from typing import Any

from rucio.common.types import InternalAccount, InternalScope
from rucio.core import account as account_core
from rucio.core import account_limit, distance, identity
from rucio.core import rse as rse_core
from rucio.core import scope as scope_core
from rucio.db.sqla.constants import AccountType, IdentityType, RSEType
from rucio.db.sqla.session import get_session
from rucio.db.sqla.util import build_database, create_base_vo, create_root_account


def main(plan: dict[str, Any]) -> None:
    build_database()
    create_base_vo()
    create_root_account()
    root = InternalAccount("root")
    service = InternalAccount(plan["account"])
    session = get_session()()
    with session.begin():
        account_core.add_account(service, AccountType.SERVICE, "service@example.org", session=session)
        account_core.add_account_attribute(service, "admin", True, session=session)
        kind = IdentityType.USERPASS
        name, password = plan["account"], plan["password"]
        identity.add_identity(name, kind, "service@example.org", password=password, session=session)
        identity.add_account_identity(name, kind, service, "service@example.org", session=session)
        ids = {}
        for name, wanted in plan["rses"].items():
            kind = RSEType.TAPE if wanted["tape"] else RSEType.DISK
            ids[name] = rse_core.add_rse(name, rse_type=kind, session=session)
            domain = {"read": 1, "write": 1, "delete": 1}
            protocol = {
                "scheme": "file",
                "hostname": "localhost",
                "port": 0,
                "prefix": wanted["prefix"],
                "impl": "rucio.rse.protocols.posix.Default",
                "domains": {"lan": domain, "wan": {**domain, "third_party_copy_read": 1, "third_party_copy_write": 1}},
            }
            rse_core.add_protocol(ids[name], protocol, session=session)
            attributes = {"fts": wanted["fts"], "site": name, **wanted.get("attributes", {})}
            attributes |= {"staging_required": True} if wanted["tape"] else {"greedyDeletion": True}
            for key, value in attributes.items():
                rse_core.add_rse_attribute(ids[name], key, value, session=session)
            for account in (root, service):
                account_limit.set_local_account_limit(account, ids[name], -1, session=session)
        for source in ids.values():
            for target in ids.values():
                if source != target:
                    distance.add_distance(source, target, distance=1, session=session)
        for scope in plan["scopes"]:
            scope_core.add_scope(InternalScope(scope), root, session=session)


if __name__ == "__main__":
    main(json.load(sys.stdin))
