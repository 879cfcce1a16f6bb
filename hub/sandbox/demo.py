"""The world a new sandbox begins with: an official account, its mini program, three people, templates."""

from __future__ import annotations

from typing import Final

from hub.sandbox.state import Account, AccountKind, Person, State, Template

OFFICIAL_APPID: Final = "wx5a6d0c8b1e2f3a47"
PROGRAM_APPID: Final = "wx7c1b9e4d2a8f6035"
OFFICIAL_KEY: Final = "5a6d0c8b1e2f3a475a6d0c8b1e2f3a47"
PROGRAM_KEY: Final = "7c1b9e4d2a8f60357c1b9e4d2a8f6035"
OPEN_PLATFORM: Final = "op_demo"

_TODO: Final = (
    "审批事项:{{thing1.DATA}}\n申请人:{{thing2.DATA}}\n申请时间:{{time3.DATA}}\n"
    "金额:{{amount4.DATA}}\n状态:{{const5.DATA}}"
)
_RESULT: Final = (
    "审批事项:{{thing1.DATA}}\n审批结果:{{phrase2.DATA}}\n审批人:{{name3.DATA}}\n审批时间:{{time4.DATA}}"
)


def _official_templates() -> list[Template]:
    return [
        Template(
            "OA-APPROVAL-TODO-0000000000000000000000000a",
            "审批待处理通知",
            _TODO,
            example="审批事项:差旅报销\n申请人:王小明\n申请时间:2026-03-01 09:12\n金额:¥1200.00\n状态:待审批",
            enums={"const5": ["待审批", "已催办", "已转交"]},
        ),
        Template("OA-APPROVAL-RESULT-00000000000000000000000b", "审批结果通知", _RESULT),
        Template(
            "OA-INDUSTRY-NOTICE-00000000000000000000000c",
            "系统通知",
            "{{first.DATA}}\n标题:{{keyword1.DATA}}\n内容:{{keyword2.DATA}}\n{{remark.DATA}}",
            industry=True,
        ),
        Template("OA-SUBSCRIBE-MEETING-000000000000000000000d", "会议提醒", _MEETING, kind=2),
        Template("OA-SUBSCRIBE-PROGRESS-00000000000000000000e", "办事进度提醒", _PROGRESS, kind=3),
    ]


_MEETING: Final = "会议主题:{{thing1.DATA}}\n会议时间:{{time2.DATA}}\n会议地点:{{thing3.DATA}}"
_PROGRESS: Final = "事项名称:{{thing1.DATA}}\n办理进度:{{phrase2.DATA}}\n更新时间:{{date3.DATA}}"


def _program_templates() -> list[Template]:
    return [
        Template("MP-APPROVAL-TODO-0000000000000000000000000f", "审批待处理通知", _TODO_MP, kind=2),
        Template("MP-APPROVAL-RESULT-00000000000000000000000g", "审批结果通知", _RESULT, kind=2),
        Template(
            "MP-LEVEL-NOTICE-000000000000000000000000000h",
            "工单状态提醒",
            "工单:{{character_string1.DATA}}\n级别:{{enum2.DATA}}\n说明:{{thing3.DATA}}",
            kind=2,
            enums={"enum2": ["普通", "紧急"]},
        ),
        Template("MP-SERVICE-PROGRESS-0000000000000000000000i", "办事进度提醒", _PROGRESS, kind=3),
    ]


_TODO_MP: Final = (
    "审批事项:{{thing1.DATA}}\n申请人:{{name2.DATA}}\n申请时间:{{time3.DATA}}\n金额:{{amount4.DATA}}"
)


def demo_state(seed: int = 1) -> State:
    """Always the same for a seed, so that a configuration can name its appids and secrets."""
    official = Account(
        appid=OFFICIAL_APPID,
        secret=OFFICIAL_KEY,
        kind=AccountKind.OFFICIAL,
        name="星河办公",
        original_id="gh_5a6d0c8b1e2f",
        open_platform=OPEN_PLATFORM,
        linked=[PROGRAM_APPID],
        industries=["1", "2"],
        templates={template.template_id: template for template in _official_templates()},
    )
    program = Account(
        appid=PROGRAM_APPID,
        secret=PROGRAM_KEY,
        kind=AccountKind.MINIPROGRAM,
        name="星河审批",
        original_id="gh_7c1b9e4d2a8f",
        open_platform=OPEN_PLATFORM,
        pages=["pages/index/index", "pages/task/detail", "pages/message/list"],
        templates={template.template_id: template for template in _program_templates()},
    )
    people = [Person("alice", "陈思雨"), Person("bob", "王志强"), Person("carol", "李雪")]
    return State(
        seed=seed,
        accounts={account.appid: account for account in (official, program)},
        people={person.person_id: person for person in people},
    )
