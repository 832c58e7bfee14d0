//! What slices and instants of a trace carry: all that is known of a call or an operation.

use alloc::format;
use alloc::string::{String, ToString};

use serde_json::{Map, Value, json};

use crate::id::CallId;
use crate::journal::history::History;
use crate::journal::records::{CallRecord, End, Moment, OperationRecord};
use crate::outcome::Report;
use crate::step::Refusal;

/// What is known of a call, however it ended.
pub(super) fn of_call(history: &History, call: &CallRecord) -> Value {
    let ended = call.ended.as_ref().map(|(moment, _)| moment);
    let (mut reason, mut live, mut live_site) = (None, None, None);
    match call.ended {
        Some((_, End::Canceled { reason: given })) => reason = Some(given.to_string()),
        Some((_, End::Refused { refusal })) => {
            reason = Some(refusal.to_string());
            if let Refusal::Live { live: other, site } = refusal {
                reason = Some("its recipient was live".into());
                live = Some(other.to_string());
                live_site = Some(format!("{}:{}", site.file(), site.line()));
            }
        }
        _ => {}
    }
    let operation = history.operation(call.id);
    let turn = history.turn_of(call.id);
    let pairs = [
        ("recipient", call.recipient.map(|recipient| recipient.to_string())),
        ("label", call.label.as_deref().map(Into::into)),
        ("name", call.named.as_deref().map(Into::into)),
        ("end", Some(end(history, call))),
        ("reason", reason),
        ("live", live),
        ("live scheduled", live_site),
        ("created", site(call.created.as_ref())),
        ("scheduled", site(call.scheduled.as_ref())),
        ("by", by(call.id, call.cause())),
        ("origin", call.origin.as_ref().map(ToString::to_string)),
        ("waited", call.waiting().map(|waited| format!("{waited:.1?}"))),
        ("turn", turn.map(|turn| turn.number.to_string())),
        ("nested in", by(call.id, call.dialed.as_ref())),
        ("ended by", by(call.id, ended)),
        ("operation", operation.map(|operation| operation.name().into())),
    ];
    known(pairs)
}

/// What is known of an operation.
pub(super) fn of_operation(operation: &OperationRecord) -> Value {
    let end = operation.ended.map_or("still running".into(), |(_, end)| end.to_string());
    known([
        ("end", Some(end)),
        ("started", site(operation.started.as_ref())),
        ("by", by(operation.id, operation.started.as_ref())),
        ("canceled", site(operation.canceling.as_ref())),
        ("layer below", operation.upper.map(|upper| upper.to_string())),
    ])
}

/// What happened in a turn.
pub(super) fn of_turn(Report { dialed, canceled, refused, remaining }: Report) -> Value {
    json!({"dialed": dialed, "canceled": canceled, "refused": refused, "remaining": remaining})
}

pub(super) fn known<const N: usize>(pairs: [(&str, Option<String>); N]) -> Value {
    let known = pairs.into_iter().filter_map(|(key, value)| Some((key.into(), value?.into())));
    Value::Object(known.collect::<Map<_, _>>())
}

pub(super) fn site(moment: Option<&Moment>) -> Option<String> {
    let site = moment.and_then(|moment| moment.site)?;
    Some(format!("{}:{}", site.file(), site.line()))
}

/// By which call a step of `call` was caused; with its queue, if that is another one.
pub(super) fn by(call: CallId, moment: Option<&Moment>) -> Option<String> {
    let by = moment.and_then(|moment| moment.by)?;
    let is_of_another = by.queue() != call.queue();
    Some(if is_of_another { format!("{by} of queue {}", by.queue()) } else { by.to_string() })
}

/// How a call ended, or how far it is.
pub(super) fn end(history: &History, call: &CallRecord) -> String {
    if history.is_end_unknown(call) {
        return "not known".into();
    }
    match (call.ended, call.dialed, call.scheduled) {
        (Some((_, end)), ..) => end.to_string(),
        (None, Some(_), _) => "still live".into(),
        (None, None, Some(_)) => "still pending".into(),
        (None, None, None) => "not scheduled yet".into(),
    }
}
