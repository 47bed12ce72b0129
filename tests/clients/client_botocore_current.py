"""The same cases with the current botocore that the current aws-cli carries: new checksums and trailers by default."""
import client_awscli_current
import client_boto3


def run(server, counter):
    if counter.case("botocore-current: fetched", client_awscli_current.folder):
        client_boto3.cases(server, counter, "current", {"PYTHONPATH": client_awscli_current.folder()})
