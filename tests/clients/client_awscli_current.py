"""A current aws-cli (version 1), out of the npm package that carries it for Lambda. New checksums by default."""
import os

import client_awscli
from npm import unpack

PACKAGE, VERSION = "@aws-cdk/asset-awscli-v1", "2.2.296"


def folder():
    return os.path.join(unpack(PACKAGE, VERSION, "lib/layer.zip", "awscli-v1"), "awscli")


def run(server, counter):
    if counter.case("awscli-current: fetched", folder):
        client_awscli.commands(server, counter, "awscli-current", ["/usr/bin/python3", "-m", "awscli"],
                               {"PYTHONPATH": folder()})
