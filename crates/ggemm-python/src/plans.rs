//! Plans that were made, so that a call that repeats one costs a look-up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ggemm_runtime::{Device, Plan, Planner, Problem};

use crate::error::Refusal;

/// How many plans are kept; of more, the one that was not used for the longest time goes.
const MOST: usize = 1024;

/// The plans of this process.
#[derive(Default)]
struct Plans {
    held: HashMap<(i32, Problem), Held>,
    clock: u64,
}

struct Held {
    plan: Arc<Plan>,
    used: u64,
}

fn plans() -> &'static Mutex<Plans> {
    static PLANS: OnceLock<Mutex<Plans>> = OnceLock::new();
    PLANS.get_or_init(Mutex::default)
}

/// The plan of `problem` on the device of this code, if it was made before.
pub(crate) fn find(key: &(i32, Problem)) -> Option<Arc<Plan>> {
    let mut plans = plans().lock().unwrap_or_else(PoisonError::into_inner);
    plans.clock += 1;
    let now = plans.clock;
    let held = plans.held.get_mut(key)?;
    held.used = now;
    Some(Arc::clone(&held.plan))
}

/// Makes the plan and keeps it. Of two threads that do so at once, one plan is thrown away.
pub(crate) fn make(key: (i32, Problem)) -> Result<Arc<Plan>, Refusal> {
    let plan = Arc::new(Planner::new(device(key.0)?).plan(&key.1)?);
    let mut plans = plans().lock().unwrap_or_else(PoisonError::into_inner);
    if plans.held.len() >= MOST {
        let oldest = plans.held.iter().min_by_key(|(_, held)| held.used).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            plans.held.remove(&oldest);
        }
    }
    let used = plans.clock;
    plans.held.insert(key, Held { plan: Arc::clone(&plan), used });
    Ok(plan)
}

/// The device of this code, looked for once.
pub(crate) fn device(code: i32) -> Result<Device, Refusal> {
    static FOUND: OnceLock<Mutex<HashMap<usize, Device>>> = OnceLock::new();
    let Ok(ordinal) = usize::try_from(code) else { return Ok(Device::cpu()) };
    let mut found = FOUND.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = found.get(&ordinal) {
        return Ok(device.clone());
    }
    let device = Device::cuda(ordinal)?;
    found.insert(ordinal, device.clone());
    Ok(device)
}
