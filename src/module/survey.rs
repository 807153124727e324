//! What a new route means for this server, found in small steps from the
//! server's cron: how many of its own keys plain commands no longer reach,
//! and which ACL users lack rules for durable commands.

use std::time::{Duration, Instant};

use crate::ffi::Ctx;
use crate::route;
use crate::scan::Cursor;
use crate::state::{self, Exclusive, LOADING};
use crate::users;
use persist_engine::host::Level;

/// How long one step may take.
const BUDGET: Duration = Duration::from_millis(1);
/// Durable commands that the log names for one user, at most.
const NAMED: usize = 12;

/// Where the survey stands.
struct Survey {
    route: String,
    /// The database that is being counted.
    db: u32,
    databases: u32,
    cursor: Cursor,
    shadowed: u64,
    /// Users still to be looked at, once keys are counted.
    users: Option<Vec<Vec<u8>>>,
}

static SURVEY: Exclusive<Option<Survey>> = Exclusive::new(None);

/// Begins anew, for this route.
pub fn begin(route: &str) {
    SURVEY.with(|slot| {
        *slot = Some(Survey {
            route: route.into(),
            db: 0,
            databases: 0,
            cursor: Cursor::new(),
            shadowed: 0,
            users: None,
        });
    });
}

/// There is no route any more.
pub fn stop() {
    SURVEY.with(|slot| *slot = None);
}

/// Goes on, for about a millisecond.
pub fn step(ctx: Ctx<'_>) {
    if state::get(&LOADING) {
        return;
    }
    SURVEY.with(|slot| {
        let Some(survey) = slot else { return };
        let until = Instant::now() + BUDGET;
        while Instant::now() < until {
            if !survey.go_on(ctx) {
                *slot = None;
                break;
            }
        }
        // The host uses this context's client again.
        ctx.select(0);
    });
}

impl Survey {
    /// One small piece of work; `false` when nothing is left.
    fn go_on(&mut self, ctx: Ctx<'_>) -> bool {
        if let Some(users) = &mut self.users {
            let Some(user) = users.pop() else {
                return false;
            };
            if users::is_on(ctx, &user) {
                look_at_user(ctx, &user);
            }
            return true;
        }
        if self.databases == 0 {
            self.databases = ctx
                .config(c"databases")
                .and_then(|n| n.parse().ok())
                .unwrap_or(16);
        }
        ctx.select(self.db);
        let shadowed = &mut self.shadowed;
        let more = self.cursor.step(ctx, &mut |key| {
            *shadowed += u64::from(route::covers(key) == Some(true));
        });
        if more {
            return true;
        }
        self.cursor.restart();
        self.db += 1;
        if self.db == self.databases {
            self.tell(ctx);
            self.users = Some(users::all(ctx));
        }
        true
    }

    fn tell(&self, ctx: Ctx<'_>) {
        let (route, n) = (&self.route, self.shadowed);
        match n {
            0 => ctx.log(
                Level::Notice,
                &format!("persist.route '{route}': none of the server's own keys match"),
            ),
            _ => ctx.log(
                Level::Warning,
                &format!(
                    "persist.route '{route}': {n} of the server's own keys match, and plain commands no longer reach them. PERSIST.ADOPT moves them into the durable keyspace"
                ),
            ),
        }
    }
}

fn look_at_user(ctx: Ctx<'_>, user: &[u8]) {
    let lacking = users::lacking(ctx, user).unwrap_or_default();
    if lacking.is_empty() {
        return;
    }
    let named: Vec<String> = lacking
        .iter()
        .take(NAMED)
        .map(|spec| format!("persist.{}", spec.name.to_ascii_lowercase()))
        .collect();
    let dots = if lacking.len() > NAMED { " ..." } else { "" };
    let name = user.escape_ascii();
    ctx.log(
        Level::Warning,
        &format!(
            "persist.route: the user '{name}' may run {} commands in their plain form but not on durable keys: {}{dots}. PERSIST.HELP ACL {name} prints the rules to add",
            lacking.len(),
            named.join(" "),
        ),
    );
}
