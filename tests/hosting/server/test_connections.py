"""Places of connections: which connection gives way, deadlines, and the bound on received bytes."""

from ipaddress import ip_network

import pytest

from hosting.server.connections import NEVER, Connections, Place
from hosting.server.peers import Peers

PROXY = "10.0.0.7"


class Owner:
    """A connection that records which calls it receives."""

    def __init__(self) -> None:
        self.gave_way = self.dropped = self.missed_deadline = False

    def give_way(self) -> None:
        self.gave_way = True

    def drop_received(self) -> None:
        self.dropped = True

    def miss_deadline(self) -> None:
        self.missed_deadline = True


def make_connections(*, total: int = 10, per_address: int = 3, bytes_max: int = 100) -> Connections:
    return Connections(
        peers=Peers([ip_network(PROXY)]), total_max=total, per_address_max=per_address, bytes_max=bytes_max
    )


def admit(connections: Connections, address: str) -> tuple[Owner, Place]:
    owner = Owner()
    place = connections.admit(owner, address)
    assert place is not None
    return owner, place


def test_at_an_addresss_bound_its_longest_waiting_connection_is_closed() -> None:
    connections = make_connections()
    (first, place), (second, _), (third, _) = (admit(connections, "1.1.1.1") for _ in range(3))
    other, _ = admit(connections, "2.2.2.2")
    place.work()
    place.wait()  # it had a request meanwhile
    admit(connections, "1.1.1.1")
    assert [owner.gave_way for owner in (first, second, third, other)] == [False, True, False, False]
    assert len(connections) == 4


def test_a_working_connection_is_not_closed() -> None:
    connections = make_connections()
    owners, places = zip(*(admit(connections, "1.1.1.1") for _ in range(3)), strict=True)
    for place in places:
        place.work()
    assert connections.admit(Owner(), "1.1.1.1") is None
    assert not any(owner.gave_way for owner in owners)
    places[1].wait()
    admit(connections, "1.1.1.1")
    assert [owner.gave_way for owner in owners] == [False, True, False]


def test_at_the_total_bound_the_longest_waiting_connection_is_closed() -> None:
    connections = make_connections(total=3)
    owners = [admit(connections, f"1.1.1.{number}")[0] for number in range(5)]
    assert [owner.gave_way for owner in owners] == [True, True, False, False, False]
    assert len(connections) == 3


def test_websockets_and_trusted_proxies_count_only_in_total() -> None:
    connections = make_connections(total=10)
    for _ in range(5):
        admit(connections, PROXY)
    streams = [admit(connections, "1.1.1.1") for _ in range(3)]
    for _, place in streams:
        place.become_websocket()
    more = [admit(connections, "1.1.1.1")[0] for _ in range(2)]
    assert len(connections) == 10
    assert not any(owner.gave_way for owner in [owner for owner, _ in streams] + more)
    for _ in range(20):
        admit(connections, "3.3.3.3")
    assert not any(owner.gave_way for owner, _ in streams)
    assert len(connections) == 10


def test_leaving_frees_one_place_even_if_it_is_repeated() -> None:
    connections = make_connections(per_address=2)
    (first, one), (second, two) = (admit(connections, "1.1.1.1") for _ in range(2))
    two.leave()
    two.leave()
    third, three = admit(connections, "1.1.1.1")
    assert not first.gave_way
    _, four = admit(connections, "1.1.1.1")
    assert [owner.gave_way for owner in (first, second, third)] == [True, False, False]
    for place in (one, two, three, four):
        place.leave()
    assert len(connections) == 0


def test_a_websocket_that_leaves_frees_one_place_even_if_it_is_repeated() -> None:
    connections = make_connections(total=4)
    *streams, other = [admit(connections, f"1.1.1.{number}")[1] for number in range(4)]
    assert [place.become_websocket() for place in (*streams, other)] == [True, True, True, False]
    streams[0].leave()
    streams[0].leave()
    _, newcomer = admit(connections, "1.1.1.1")
    assert [place.become_websocket() for place in (newcomer, other)] == [True, False]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:1.2.3.4", "1.2.3.4", True),
        ("1.2.3.4", "1.2.3.5", False),
    ],
)
def test_addresses_of_one_peer_share_a_key(one: str, other: str, together: bool) -> None:
    key = Peers([]).key
    assert (key(one) == key(other)) == together


def test_trusted_proxies_have_no_key() -> None:
    key = Peers([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]).key
    assert [key(each) for each in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "")] == [None] * 4
    assert key("11.1.2.3") == "11.1.2.3"


def test_a_sweep_reports_connections_past_their_deadline() -> None:
    connections = make_connections()
    (late, first), (working, second), (early, third) = (admit(connections, "1.1.1.1") for _ in range(3))
    first.deadline, third.deadline = 10.0, 20.0
    second.deadline = NEVER
    second.work()
    connections.sweep(10.0)
    assert [owner.missed_deadline for owner in (late, working, early)] == [True, False, False]


def test_unfinished_requests_share_a_bound() -> None:
    connections = make_connections(bytes_max=100)
    (first, one), (idle, _), (last, three) = (admit(connections, "1.1.1.1") for _ in range(3))
    one.hold(60)
    one.hold(50)
    three.hold(50)
    assert not first.gave_way
    three.hold(60)
    assert [owner.gave_way for owner in (first, idle, last)] == [True, False, False]
    three.leave()
    _, four = admit(connections, "1.1.1.1")
    four.hold(100)
    assert not idle.gave_way


def test_a_working_connection_drops_requests_received_ahead_but_stays() -> None:
    connections = make_connections(bytes_max=100)
    (working, one), (ahead, two), (waiting, three) = (admit(connections, "1.1.1.1") for _ in range(3))
    one.hold(60)
    one.work()
    two.work()
    two.hold(30)
    three.hold(40)
    assert [owner.dropped for owner in (working, ahead, waiting)] == [False, True, False]
    assert [owner.gave_way for owner in (working, ahead, waiting)] == [False, False, True]
