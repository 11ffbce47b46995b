"""Starts moto without labours that cost more than all the rest of it, and with streams that last. None of the former changes an answer.

moto reads a state machine's definition anew when it is created and whenever it is executed, the better part of a second for a long
one; it makes a client for each call of a function, and reads each path again each time. Here all of it is done once. Whatever account
stands in a definition's ARNs, it is one text, and each execution gets a copy of its own. Likewise the policies that AWS manages are
read once, and not for each account.

moto walks through each value of a DynamoDB item as if it were one of its own objects. Here texts and numbers, which are in DynamoDB's
own form already, go out as they are.

moto keeps a copy of a table while a transaction is under way, and puts it back if it refuses. The copy has a stream of its own, and whoever
reads the old one never sees anything new; and each record that was ever written is copied with it. Here records, which never change, are
shared, and a reader goes to the stream that the table has now.
"""

import copy
import json
import pickle
import re
import threading

from moto.core import responses
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.table import StreamShard
from moto.dynamodbstreams.models import ShardIterator
from moto.iam.models import AWSManagedPolicy, IAMBackend, aws_managed_policies_data
from moto.server import main
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import json_path

MANAGED = json.loads(aws_managed_policies_data)
NOBODY = "000000000000"


def once(work):
    """Remembers what came of the work for each input."""
    known, lock = {}, threading.Lock()

    def done(key):
        with lock:
            if key not in known:
                known[key] = work(key)
            return known[key]

    return done


read, walk, client = AmazonStateLanguageParser.parse, BaseJSONSerializer._serialize_type_structure, lambda_eval_utils.boto_client_for
records = ShardIterator.get
pickled, client_of = once(lambda text: pickle.dumps(read(text)[0])), once(lambda key: client(*key))


def parse(definition):
    account = re.search(r":(\d{12}):", definition)
    account = account[1] if account else NOBODY
    own = pickled(definition.replace(account, NOBODY)).replace(NOBODY.encode(), account.encode())
    return pickle.loads(own), None


def policies(self):
    return [AWSManagedPolicy.from_data(name, self.account_id, self.region_name, policy) for name, policy in MANAGED.items()]


def structure(self, serialized, value, shape, key):
    if shape.name == "AttributeValue" and type(value) is dict and isinstance(value.get("S", value.get("N")), str):
        self._default_serialize(serialized, value, shape, key)
    else:
        walk(self, serialized, value, shape, key)


def shard(self, memo):
    memo[id(self)] = fresh = copy.copy(self)
    fresh.table, fresh.items = copy.deepcopy(self.table, memo), list(self.items)
    return fresh


def current(self, limit=1000):
    self.stream_shard = self.streams_backend.dynamodb.get_table(self.stream_shard.table.name).stream_shard
    return records(self, limit)


IAMBackend._init_aws_policies = policies
AmazonStateLanguageParser.parse = staticmethod(parse)
BaseJSONSerializer._serialize_type_structure = structure
lambda_eval_utils.boto_client_for = lambda region, service, state_credentials=None: client_of((region, service))
StreamShard.__deepcopy__ = shard
ShardIterator.get = current
json_path.parse = once(json_path.parse)
responses.method_names_from_class = once(responses.method_names_from_class)
main()
