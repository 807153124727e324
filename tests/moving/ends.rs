//! What ends the move of a large key in the middle.

use crate::large::{elements, list, numbers};
use crate::{MANY, WAYS, Way, builder, finish, freeze, hidden, moving, number, ok, thaw};

#[test]
fn a_crash_leaves_the_source_and_no_copy_for_ever() {
    for way in WAYS {
        let mut server = builder()
            // The host remembers, too, so that both sides can be looked at.
            .config("appendonly", "yes")
            .config("appendfsync", "always")
            .start()
            .unwrap();
        let mut client = server.raw().unwrap();
        list(&mut client, way, "k", MANY);
        client.words(&format!("{} k", way.command())).unwrap();
        freeze(&mut client);
        server.restart().unwrap();
        let mut client = server.raw().unwrap();
        assert_eq!(elements(&mut client, way.from(), "k"), numbers(MANY));
        let to = way.to();
        assert_eq!(number(&mut client, &format!("{to}EXISTS k")), 0);
        let names = hidden(&mut client, to);
        assert_eq!(names.len(), 1, "{way:?}: what was copied");
        let ttl = number(&mut client, &format!("{to}PTTL {}", names[0]));
        assert!((1..=600_000).contains(&ttl), "{way:?}: {ttl}");
        // It isn't a key to be moved, and the key can be moved anew.
        client.words(&format!("{} *", way.command())).unwrap();
        finish(&server);
        assert_eq!(elements(&mut client, to, "k"), numbers(MANY));
        let back = if way == Way::Adopt {
            Way::Release
        } else {
            Way::Adopt
        };
        client.words(&format!("{} *", back.command())).unwrap();
        finish(&server);
        assert_eq!(elements(&mut client, back.to(), "k"), numbers(MANY));
        assert_eq!(hidden(&mut client, to), names);
    }
}

#[test]
fn cancelled_in_the_middle() {
    for way in WAYS {
        let server = builder().start().unwrap();
        let mut client = server.raw().unwrap();
        list(&mut client, way, "k", MANY);
        client.words(&format!("{} *", way.command())).unwrap();
        freeze(&mut client);
        client.words("PERSIST.ADOPT CANCEL").unwrap();
        thaw(&mut client);
        finish(&server);
        let info = moving(&mut client);
        let ended = (&*info["moving_last_status"], &*info["moving_moved"]);
        assert_eq!(ended, ("cancelled", "0"));
        assert_eq!(elements(&mut client, way.from(), "k"), numbers(MANY));
        assert_eq!(number(&mut client, &format!("{}DBSIZE", way.to())), 0);
    }
}

#[test]
fn without_the_log_nothing_is_adopted() {
    let server = builder().start().unwrap();
    let mut client = server.raw().unwrap();
    list(&mut client, Way::Adopt, "k", MANY);
    client.words("PERSIST.ADOPT k").unwrap();
    freeze(&mut client);
    let reply = client.words("CONFIG SET persist.appendonly no").unwrap();
    assert_eq!(reply, ok());
    thaw(&mut client);
    finish(&server);
    let info = moving(&mut client);
    assert_eq!(info["moving_last_status"], "the log was turned off");
    assert_eq!(elements(&mut client, "", "k"), numbers(MANY));
    assert_eq!(number(&mut client, "PERSIST.DBSIZE"), 0);
}

/// The durable side is whole when the host has become a replica of another.
#[test]
fn a_replica_goes_no_further() {
    for way in WAYS {
        let master = builder().start().unwrap();
        let server = builder().start().unwrap();
        let mut client = server.raw().unwrap();
        list(&mut client, way, "k", MANY);
        client.words(&format!("{} k", way.command())).unwrap();
        freeze(&mut client);
        let line = format!("REPLICAOF 127.0.0.1 {}", master.port());
        assert_eq!(client.words(&line).unwrap(), ok());
        thaw(&mut client);
        finish(&server);
        let info = moving(&mut client);
        assert_eq!(info["moving_last_status"], "the server became a replica");
        assert_eq!(info["moving_moved"], "0");
        assert_eq!(client.words("REPLICAOF NO ONE").unwrap(), ok());
        assert_eq!(hidden(&mut client, "PERSIST."), Vec::<String>::new());
        if way == Way::Release {
            assert_eq!(elements(&mut client, "PERSIST.", "k"), numbers(MANY));
        }
    }
}
