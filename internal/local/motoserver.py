"""Starts moto without labours that cost more than all the rest of it, and with streams that last, conditions that hold and executions that stop. None of
the labours changes an answer.

moto reads a state machine's definition anew when it is created and whenever it is executed, the better part of a second for a long
one; it makes a client for each call of a function, reads each path again each time, and lists its own folders to find out which service a
request is for. When many requests for a service come at once, each reads that service's whole description. Here all of it is done once.
Whatever account stands in a definition's ARNs, it is one text, and each execution gets a copy of its own. Likewise the policies that AWS
manages are made once, and copied for each account. Requests are not logged: the endpoint's journal has them.

moto walks through each value of a DynamoDB item as if it were one of its own objects, copies each that it reads, and finds out anew what it is
for each comparison. Here texts and numbers, which are in DynamoDB's own form already and are never changed, go out as they are, and texts are
compared as texts.

moto lets two writes at once both find their condition true. DynamoDB does one after the other to an item; here it is one action after the
other, which costs nothing where one thread runs at a time anyway.

moto counts all messages of a queue to find out how long that queue keeps one, for each message; makes two dates of each time that it compares a message's with;
and looks through all of a FIFO queue for one that was sent before. Here it reads just that, compares numbers, and remembers what was sent to each group, for
five minutes as SQS does with this DeduplicationScope, whether it has been deleted or not.

moto cannot stop an execution that has not begun, and one that is stopped while its branches begin waits for them for ever. Here a stop waits for
the beginning, and a branch that comes too late ends.

Python looks through all that was ever made for what nobody needs any more each time that some hundred things are new, and moto makes and
keeps a great many. Here it looks seldom.

moto keeps a copy of a table while a transaction is under way, and puts it back if it refuses. The copy has a stream of its own, and whoever
reads the old one never sees anything new; and each record that was ever written is copied with it. Here records, which never change, are
shared, and a reader goes to the stream that the table has now.
"""

import copy
import gc
import json
import logging
import math
import pickle
import re
import threading
import time

from moto.core import responses, utils
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import StreamShard
from moto.dynamodb.responses import DynamoHandler
from moto.dynamodbstreams.models import ShardIterator
from moto.iam.models import AWSManagedPolicy, IAMBackend, aws_managed_policies_data
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import main
from moto.sqs.models import DEDUPLICATION_TIME_IN_SECONDS, Message, Queue, SQSBackend
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branch_worker import BranchWorker
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

NOBODY = "000000000000"


def once(work):
    """Remembers what came of the work for each input."""
    known, lock = {}, threading.Lock()

    def done(*key):
        with lock:
            if key not in known:
                known[key] = work(*key)
            return known[key]

    return done


read, walk, client = AmazonStateLanguageParser.parse, BaseJSONSerializer._serialize_type_structure, lambda_eval_utils.boto_client_for
acting, turn = DynamoHandler.call_action, threading.RLock()
same, less = DynamoType.__eq__, DynamoType.__lt__
copied, records = DynamoType.__deepcopy__, ShardIterator.get
stop = ExecutionWorker.stop
pickled, client_of = once(lambda text: pickle.dumps(read(text)[0])), once(client)


def parse(definition):
    account = re.search(r":(\d{12}):", definition)
    account = account[1] if account else NOBODY
    own = pickled(definition.replace(account, NOBODY)).replace(NOBODY.encode(), account.encode())
    return pickle.loads(own), None


managed = once(lambda region: [AWSManagedPolicy.from_data(name, NOBODY, region, policy) for name, policy in json.loads(aws_managed_policies_data).items()])


def policies(self):
    own = [copy.copy(policy) for policy in managed(self.region_name)]
    for policy in own:
        policy.account_id = self.account_id
    return own


def structure(self, serialized, value, shape, key):
    if shape.name == "AttributeValue" and type(value) is dict and isinstance(value.get("S", value.get("N")), str):
        self._default_serialize(serialized, value, shape, key)
    else:
        walk(self, serialized, value, shape, key)


def value(self, memo):
    return copied(self, memo) if self.is_list() or self.is_map() or self.is_set() else self


def action(self):
    with turn:
        return acting(self)


def equal(self, other):
    return self.value == other.value if self.type == other.type == "S" else same(self, other)


def before(self, other):
    return self.value < other.value if self.type == other.type == "S" else less(self, other)


def retained(self, queue_name, message):
    return self.get_queue(queue_name).message_retention_period + message.sent_timestamp / 1000 > time.time()


def add(self, message):
    if self.fifo_queue and message.deduplication_id:
        sent, once = vars(self).setdefault("sent", {}), (message.group_id, message.deduplication_id)
        if message.sent_timestamp - sent.get(once, -math.inf) < DEDUPLICATION_TIME_IN_SECONDS * 1000:
            return
        sent[once] = message.sent_timestamp
    with self._messages_lock:
        self._messages.append(message)
        self._messages_lock.notify_all()


def shard(self, memo):
    memo[id(self)] = fresh = copy.copy(self)
    fresh.table, fresh.items = copy.deepcopy(self.table, memo), list(self.items)
    return fresh


def current(self, limit=1000):
    self.stream_shard = self.streams_backend.dynamodb.get_table(self.stream_shard.table.name).stream_shard
    return records(self, limit)


def stopped(self, stop_date, error, cause):
    end = time.monotonic() + 10
    while (self.env is None or self.env.program_state() is None) and time.monotonic() < end:
        time.sleep(0.001)
    stop(self, stop_date, error, cause)


def branch(self):
    try:
        self._program.eval(self.env)
    except RuntimeError:
        if self.env.is_running():
            raise
    self._branch_worker_comm.on_terminated(env=self.env)


logging.getLogger("werkzeug").setLevel(logging.WARNING)
DomainDispatcherApplication.get_backend_for_host = once(DomainDispatcherApplication.get_backend_for_host)
utils._load_service_model = once(utils._load_service_model)
IAMBackend._init_aws_policies = policies
AmazonStateLanguageParser.parse = staticmethod(parse)
BaseJSONSerializer._serialize_type_structure = structure
lambda_eval_utils.boto_client_for = lambda region, service, state_credentials=None: client_of(region, service)
DynamoHandler.call_action = action
DynamoType.__deepcopy__, DynamoType.__eq__, DynamoType.__lt__ = value, equal, before
SQSBackend.is_message_valid_based_on_retention_period = retained
Queue.add_message = add
Message.visible = property(lambda self: time.time() * 1000 > self.visible_at)
Message.delayed = property(lambda self: time.time() * 1000 < self.delayed_until)
StreamShard.__deepcopy__ = shard
ShardIterator.get = current
ExecutionWorker.stop, BranchWorker._thread_routine = stopped, branch
json_path.parse = once(json_path.parse)
responses.method_names_from_class = once(responses.method_names_from_class)
gc.set_threshold(100_000, 50, 50)
main()
