//! Clocks that jump while the server runs.

use super::*;

fn jump(control: &Path, seconds: i64) {
    let faults = Faults {
        clock_shift_s: seconds,
        ..Faults::default()
    };
    faults.apply(control).unwrap();
}

fn now(server: &Server) -> i64 {
    let reply = server.words("TIME").unwrap();
    match &reply {
        Resp::Array(parts) => parts[0].text().unwrap().parse().unwrap(),
        other => panic!("TIME: {other}"),
    }
}

/// Waits until the server sees the jump, which the library looks at every few ms.
fn jumps(server: &Server, control: &Path, seconds: i64, to: i64) {
    jump(control, seconds);
    wait_until("the jump", LIMIT, || Ok((now(server) - to).abs() < 600)).unwrap();
}

/// The times of all groups in the log, in its order.
fn group_times(server: &Server) -> Vec<u64> {
    let dir = server.data_dir().join("persist-aof");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .collect();
    files.sort();
    let bytes: Vec<u8> = files
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    String::from_utf8_lossy(&bytes)
        .lines()
        .filter(|line| line.starts_with("#PG1 "))
        .map(|line| {
            let field = line.split(" t=").nth(1).unwrap();
            field.split(' ').next().unwrap().parse().unwrap()
        })
        .collect()
}

#[test]
fn the_clock_jumps_under_a_running_server() {
    let (_dir, mut server, control) = with_faults(Server::builder(), Preload::new());
    let real = now(&server);
    said(&server, "PERSIST.SET short x EX 600", "OK");
    said(&server, "PERSIST.SET long x EX 100000", "OK");
    for (at, seconds) in [3_600, -3_600, 0, -86_400 * 400, 86_400 * 400, 0]
        .into_iter()
        .enumerate()
    {
        jumps(&server, &control, seconds, real + seconds);
        let key = format!("at{at}");
        said(&server, &format!("PERSIST.SET {key} {seconds}"), "OK");
        // Synced by the stopwatch, not by the clock.
        wait_info(&server, "at_risk_bytes", "0");
        said(&server, &format!("PERSIST.SET {key} {seconds}"), "OK");
        said(&server, "PERSIST.SYNC 20000", "1");
        let at_risk: u64 = info(&server, "at_risk_ms").parse().unwrap();
        assert!(at_risk < 20_000, "{at_risk}");
        // Ended an hour on, and not back again when the clock is.
        said(&server, "PERSIST.EXISTS short", "0");
        if seconds.abs() < 86_400 && at < 4 {
            said(&server, "PERSIST.EXISTS long", "1");
        }
    }
    said(&server, "PERSIST.EXISTS long", "0");
    let times = group_times(&server);
    assert!(times.len() > 8, "{times:?}");
    assert!(times.is_sorted(), "{times:?}");
    server.set_preload(None).unwrap();
    server.restart().unwrap();
    said(&server, "PERSIST.EXISTS at0 at1 at2 at3 at4 at5", "6");
    said(&server, "PERSIST.EXISTS short long", "0");
}

#[test]
fn save_points_hold_when_the_clock_jumps() {
    let builder = Server::builder()
        .config("persist.appendonly", "no")
        .config("persist.save", "1000 1");
    let (_dir, mut server, control) =
        with_faults(builder, Preload::new().fail_path("temp-persist"));
    let real = now(&server);
    said(&server, "PERSIST.SET k 1", "OK");
    // An hour on: the change is no older for that.
    jumps(&server, &control, 3_600, real + 3_600);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(info(&server, "rdb_saves"), "0");
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "0");
    // An hour back: it is saved when its time has come.
    jumps(&server, &control, -3_600, real - 3_600);
    let mut client = server.raw().unwrap();
    let reply = client.command(&["CONFIG", "SET", "persist.save", "2 1"]);
    assert_eq!(reply.unwrap(), Resp::Simple(b"OK".to_vec()));
    wait_info(&server, "rdb_saves", "1");
    // A failed one is tried again, whatever the clock does meanwhile.
    let broken = Faults {
        clock_shift_s: 0,
        fail_write: ENOSPC,
        ..Faults::default()
    };
    broken.apply(&control).unwrap();
    said(&server, "PERSIST.SET k 2", "OK");
    wait_info(&server, "rdb_last_bgsave_status", "err");
    jumps(&server, &control, -3_600, real - 3_600);
    wait_info(&server, "rdb_last_bgsave_status", "ok");
    server.restart().unwrap();
    said(&server, "PERSIST.GET k", "2");
}
