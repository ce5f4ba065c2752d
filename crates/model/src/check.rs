//! Runs the checker over the model and says what it found.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::{
    action::{Action, actions},
    bounds::Bounds,
    mutation::Mutation,
    rules::{Breaches, Event, Rule},
    state::State,
    step::Step,
};

/// The protocol as stateright's checker sees it.
pub struct Protocol {
    /// How far it goes.
    pub bounds: Bounds,
    /// The rule that is left out, if any.
    pub mutation: Option<Mutation>,
    broken: [AtomicBool; Rule::ALL.len()],
    seen: [AtomicBool; Event::ALL.len()],
}

/// What a run found.
pub struct Outcome {
    /// States generated, repetitions included.
    pub generated: usize,
    /// Different states.
    pub unique: usize,
    /// The longest shortest way to a state, in steps.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Whether every state within the bounds was visited.
    pub complete: bool,
    /// The rules seen broken, each with the steps that lead there; the shortest way first.
    pub broken: Vec<(Rule, Vec<Line>)>,
    /// What was seen to happen.
    pub seen: Vec<Event>,
}

/// A step of a trace and the state after it.
pub struct Line {
    /// What happened.
    pub action: String,
    /// What came of it.
    pub state: String,
}

impl Protocol {
    /// The protocol at these bounds, whole or with a mutation.
    #[must_use]
    pub fn new(bounds: Bounds, mutation: Option<Mutation>) -> Self {
        Self { bounds, mutation, broken: Default::default(), seen: Default::default() }
    }

    // The checker keeps the last discovery of a property, not the first, so each is shown to it once only.
    fn obeys<const RULE: usize>(&self, state: &State) -> bool {
        Rule::ALL[RULE].holds(state) || self.broken[RULE].swap(true, Ordering::Relaxed)
    }

    fn shows<const EVENT: usize>(&self, state: &State) -> bool {
        state.event == Some(Event::ALL[EVENT]) && !self.seen[EVENT].swap(true, Ordering::Relaxed)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::start(&self.bounds)]
    }

    fn actions(&self, state: &State, into: &mut Vec<Action>) {
        actions(&self.bounds, state, self.mutation, into);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let next = State { breaches: Breaches::default(), event: None, ..*state };
        Step { bounds: &self.bounds, mutation: self.mutation, next }.take(action, state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let rules: [fn(&Self, &State) -> bool; Rule::ALL.len()] = [
            Self::obeys::<0>,
            Self::obeys::<1>,
            Self::obeys::<2>,
            Self::obeys::<3>,
            Self::obeys::<4>,
            Self::obeys::<5>,
            Self::obeys::<6>,
            Self::obeys::<7>,
        ];
        let events: [fn(&Self, &State) -> bool; Event::ALL.len()] = [
            Self::shows::<0>,
            Self::shows::<1>,
            Self::shows::<2>,
            Self::shows::<3>,
            Self::shows::<4>,
            Self::shows::<5>,
            Self::shows::<6>,
            Self::shows::<7>,
            Self::shows::<8>,
        ];
        let always = Rule::ALL.iter().zip(rules).map(|(rule, holds)| Property::always(rule.name(), holds));
        let sometimes =
            Event::ALL.iter().zip(events).map(|(event, is)| Property::sometimes(event.name(), is));
        always.chain(sometimes).collect()
    }
}

/// Visits every state within `bounds`, breadth first, until one of the rules in `until` is seen broken or more than
/// `states_max` states were generated. One thread gives the shortest trace and the same counts each time.
#[must_use]
pub fn check(
    bounds: Bounds,
    mutation: Option<Mutation>,
    until: &[Rule],
    states_max: usize,
    threads: usize,
) -> Outcome {
    let began = Instant::now();
    let until: BTreeSet<&'static str> = until.iter().map(|rule| rule.name()).collect();
    let checker = Protocol::new(bounds, mutation)
        .checker()
        .threads(threads)
        .target_state_count(states_max)
        .finish_when(HasDiscoveries::AnyOf(until.clone()))
        .spawn_bfs()
        .join();
    let mut paths = checker.discoveries();
    let stopped = until.iter().any(|rule| paths.contains_key(rule));
    let mut broken: Vec<(Rule, Vec<Line>)> = Vec::new();
    for rule in Rule::ALL {
        if let Some(path) = paths.remove(rule.name()) {
            broken.push((rule, lines(path.into_vec())));
        }
    }
    broken.sort_by_key(|(_, lines)| lines.len());
    Outcome {
        generated: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth() - 1,
        took: began.elapsed(),
        complete: !stopped && checker.state_count() < states_max,
        broken,
        seen: Event::ALL.into_iter().filter(|event| paths.contains_key(event.name())).collect(),
    }
}

fn lines(path: Vec<(State, Option<Action>)>) -> Vec<Line> {
    let (states, actions): (Vec<State>, Vec<Option<Action>>) = path.into_iter().unzip();
    let steps = actions.into_iter().flatten().zip(states.into_iter().skip(1));
    steps.map(|(action, state)| Line { action: action.to_string(), state: state.to_string() }).collect()
}
